// Routing: prints the lines of the severities given as arguments.
'use strict';

const { connect, closeOnInterrupt } = require('./broker');

async function main(severities) {
  const connection = await connect();
  const channel = await connection.createChannel();
  closeOnInterrupt(connection, channel);
  await channel.assertExchange('direct_logs', 'direct', { durable: false });
  const { queue } = await channel.assertQueue('', { exclusive: true });
  for (const severity of severities) await channel.bindQueue(queue, 'direct_logs', severity);
  const print = ({ fields, content }) => console.log(` [x] ${fields.routingKey}:'${content}'`);
  console.log(' [*] Waiting for logs. To exit press CTRL+C');
  await channel.consume(queue, print, { noAck: true });
}

const severities = process.argv.slice(2);
if (severities.length === 0) {
  console.error('usage: receive_logs_direct.js [info] [warning] [error]');
  process.exit(1);
}
main(severities);
