// Topics: prints the lines whose key matches one of the patterns given as arguments.
'use strict';

const { connect, closeOnInterrupt } = require('./broker');

async function main(patterns) {
  const connection = await connect();
  const channel = await connection.createChannel();
  closeOnInterrupt(connection, channel);
  await channel.assertExchange('topic_logs', 'topic', { durable: false });
  const { queue } = await channel.assertQueue('', { exclusive: true });
  for (const pattern of patterns) await channel.bindQueue(queue, 'topic_logs', pattern);
  const print = ({ fields, content }) => console.log(` [x] ${fields.routingKey}:'${content}'`);
  console.log(' [*] Waiting for logs. To exit press CTRL+C');
  await channel.consume(queue, print, { noAck: true });
}

const patterns = process.argv.slice(2);
if (patterns.length === 0) {
  console.error('usage: receive_logs_topic.js PATTERN...');
  process.exit(1);
}
main(patterns);
