// Publisher confirms: three ways to know that the broker has taken charge of every message.
'use strict';

const { promisify } = require('node:util');
const { connect } = require('./broker');

const BATCH_SIZE = 100;

/** Simple and slow: one message under way at a time. */
async function publishIndividually(channel, queue, count) {
  const publish = promisify(channel.sendToQueue.bind(channel));
  for (let n = 0; n < count; n++) await publish(queue, Buffer.from(String(n)), {});
}

/** Few waits, but an error does not say which message of the batch. */
async function publishInBatches(channel, queue, count) {
  for (let n = 1; n <= count; n++) {
    channel.sendToQueue(queue, Buffer.from(String(n)));
    if (n % BATCH_SIZE === 0) await channel.waitForConfirms();
  }
  await channel.waitForConfirms();
}

/** Publishes without waiting; each message has its own callback. */
function publishAsynchronously(channel, queue, count) {
  return new Promise((resolve, reject) => {
    let confirmed = 0;
    const onConfirm = (refusal) => {
      if (refusal) reject(refusal);
      else if (++confirmed === count) resolve();
    };
    for (let n = 0; n < count; n++) channel.sendToQueue(queue, Buffer.from(String(n)), {}, onConfirm);
  });
}

async function main() {
  const count = Number.parseInt(process.argv[2] ?? '10000', 10);
  const connection = await connect();
  for (const [manner, publish] of [
    ['individually', publishIndividually],
    ['in batches', publishInBatches],
    ['asynchronously', publishAsynchronously],
  ]) {
    const channel = await connection.createConfirmChannel();
    const { queue } = await channel.assertQueue('', { exclusive: true });
    const started = performance.now();
    await publish(channel, queue, count);
    const elapsed = Math.round(performance.now() - started);
    console.log(`Published ${count} messages and handled confirms ${manner} in ${elapsed} ms`);
    await channel.close();
  }
  await connection.close();
}

main();
