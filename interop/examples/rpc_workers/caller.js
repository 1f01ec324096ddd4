// Keeps calls going for a while: caller.js OUTSTANDING MILLISECONDS
//
// Prints how many were answered in a second, and how many of them by whom.
'use strict';

const amqp = require('amqplib');

const URL = process.env.AMQP_URL ?? 'amqp://guest:guest@localhost';
const WARM_UP_MS = 300;

async function main() {
  const [outstanding, duration] = process.argv.slice(2).map(Number);
  const connection = await amqp.connect(URL);
  const channel = await connection.createChannel();
  await channel.assertQueue('calls', { durable: true });

  let next = 0;
  let began;
  let answered = new Map();
  const waiting = new Set();
  const call = () => {
    const correlationId = String(next++);
    waiting.add(correlationId);
    channel.sendToQueue('calls', Buffer.from('work'), { correlationId, replyTo: 'amq.rabbitmq.reply-to' });
  };
  const finished = new Promise((resolve) => {
    channel.consume('amq.rabbitmq.reply-to', (reply) => {
      if (!waiting.delete(reply.properties.correlationId)) throw new Error('an answer to no call of ours');
      const worker = reply.content.toString();
      answered.set(worker, (answered.get(worker) ?? 0) + 1);
      const elapsed = began === undefined ? 0 : performance.now() - began;
      if (elapsed < duration) call();
      else resolve(elapsed);
    }, { noAck: true });
  });
  for (let n = 0; n < outstanding; n++) call();
  setTimeout(() => { began = performance.now(); answered = new Map(); }, WARM_UP_MS);
  const elapsed = await finished;
  const total = [...answered.values()].reduce((sum, count) => sum + count, 0);
  console.log(JSON.stringify({ rate: (1000 * total) / elapsed, answered: Object.fromEntries(answered) }));
  await connection.close();
}

main();
