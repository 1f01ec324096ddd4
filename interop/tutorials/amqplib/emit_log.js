// Publish/subscribe: broadcasts a line to whoever listens now.
'use strict';

const { connect } = require('./broker');

async function main() {
  const message = process.argv.slice(2).join(' ') || 'info: Hello World!';
  const connection = await connect();
  const channel = await connection.createChannel();
  await channel.assertExchange('logs', 'fanout', { durable: false });
  channel.publish('logs', '', Buffer.from(message));
  console.log(` [x] Sent '${message}'`);
  await channel.close();
  await connection.close();
}

main();
