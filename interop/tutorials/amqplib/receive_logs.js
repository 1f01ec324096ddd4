// Publish/subscribe: prints every line that is broadcast.
'use strict';

const { connect, closeOnInterrupt } = require('./broker');

async function main() {
  const connection = await connect();
  const channel = await connection.createChannel();
  closeOnInterrupt(connection, channel);
  await channel.assertExchange('logs', 'fanout', { durable: false });
  // A queue of our own with a name that the broker chooses, gone when we are.
  const { queue } = await channel.assertQueue('', { exclusive: true });
  await channel.bindQueue(queue, 'logs', '');
  console.log(' [*] Waiting for logs. To exit press CTRL+C');
  await channel.consume(queue, (message) => console.log(` [x] '${message.content}'`), { noAck: true });
}

main();
