// A consumer that stands still with its first message; see `StandingConsumer`.
'use strict';

const { workerData } = require('node:worker_threads');
const amqp = require('amqplib');
const { standStill } = require('../lib/node');

async function main() {
  const { url, heartbeat, queue, noAck } = workerData;
  const connection = await amqp.connect(`${url}?heartbeat=${heartbeat}`);
  // It is cut off while it stands still.
  connection.on('error', () => {});
  const channel = await connection.createChannel();
  channel.on('error', () => {});
  await channel.consume(queue, (message) => standStill(message.content.toString()), { noAck });
}

main();
