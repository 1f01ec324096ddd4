// Routing: sends a line with its severity as the routing key.
'use strict';

const { connect } = require('./broker');

async function main() {
  const [severity = 'info', ...words] = process.argv.slice(2);
  const message = words.join(' ') || 'Hello World!';
  const connection = await connect();
  const channel = await connection.createChannel();
  await channel.assertExchange('direct_logs', 'direct', { durable: false });
  channel.publish('direct_logs', severity, Buffer.from(message));
  console.log(` [x] Sent ${severity}:'${message}'`);
  await channel.close();
  await connection.close();
}

main();
