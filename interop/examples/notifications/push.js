// Pushes notifications to phones: push.js PATTERN...
'use strict';

const amqp = require('amqplib');

const URL = process.env.AMQP_URL ?? 'amqp://guest:guest@localhost';

async function main() {
  const connection = await amqp.connect(URL);
  const channel = await connection.createChannel();
  await channel.assertExchange('notifications', 'topic', { durable: true });
  await channel.assertQueue('push', { durable: true });
  for (const pattern of process.argv.slice(2)) await channel.bindQueue('push', 'notifications', pattern);
  await channel.prefetch(20);
  console.log('ready');
  await channel.consume('push', (message) => {
    console.log(`${message.fields.routingKey} ${message.content}`);
    channel.ack(message);
  });
}

main();
