// A consumer that stands still with its first message; see `StandingConsumer`.
'use strict';

const { workerData } = require('node:worker_threads');
const { AMQPClient } = require('@cloudamqp/amqp-client');
const { standStill } = require('../lib/node');

async function main() {
  const { url, heartbeat, queue, noAck } = workerData;
  const connection = await new AMQPClient(`${url}?heartbeat=${heartbeat}`).connect();
  const channel = await connection.channel();
  await channel.basicConsume(queue, { noAck }, (message) => standStill(message.bodyString()));
}

main();
