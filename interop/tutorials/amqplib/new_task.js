// Work queues: sends a task that survives a restart of the broker. Each dot in it is a bit of work.
'use strict';

const { connect } = require('./broker');

async function main() {
  const task = process.argv.slice(2).join(' ') || 'Hello World!';
  const connection = await connect();
  const channel = await connection.createChannel();
  await channel.assertQueue('task_queue', { durable: true, arguments: { 'x-queue-type': 'quorum' } });
  channel.sendToQueue('task_queue', Buffer.from(task), { persistent: true });
  console.log(` [x] Sent '${task}'`);
  await channel.close();
  await connection.close();
}

main();
