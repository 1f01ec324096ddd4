// Topics: sends a line with a routing key of several words, such as kern.critical.
'use strict';

const { connect } = require('./broker');

async function main() {
  const [key = 'anonymous.info', ...words] = process.argv.slice(2);
  const message = words.join(' ') || 'Hello World!';
  const connection = await connect();
  const channel = await connection.createChannel();
  await channel.assertExchange('topic_logs', 'topic', { durable: false });
  channel.publish('topic_logs', key, Buffer.from(message));
  console.log(` [x] Sent ${key}:'${message}'`);
  await channel.close();
  await connection.close();
}

main();
