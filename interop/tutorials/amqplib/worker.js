// Work queues: does one task at a time, and acknowledges it when it is done.
// A dot in a task is a second of work, or as many as the argument says.
'use strict';

const { setTimeout: delay } = require('node:timers/promises');
const { connect, closeOnInterrupt } = require('./broker');

const SECONDS_PER_DOT = Number(process.argv[2] ?? 1);

async function main() {
  const connection = await connect();
  const channel = await connection.createChannel();
  closeOnInterrupt(connection, channel);
  await channel.assertQueue('task_queue', { durable: true, arguments: { 'x-queue-type': 'quorum' } });
  // No second task for a worker that has not acknowledged its first.
  await channel.prefetch(1);
  console.log(' [*] Waiting for messages. To exit press CTRL+C');
  await channel.consume('task_queue', async (message) => {
    const task = message.content.toString();
    console.log(` [x] Received '${task}'`);
    await delay(1000 * SECONDS_PER_DOT * (task.split('.').length - 1));
    channel.ack(message);
    console.log(' [x] Done');
  });
}

main();
