// RPC: answers requests for Fibonacci numbers.
'use strict';

const { connect, closeOnInterrupt } = require('./broker');

function fib(n) {
  let [previous, current] = [0, 1];
  for (let step = 0; step < n; step++) [previous, current] = [current, previous + current];
  return previous;
}

async function main() {
  const connection = await connect();
  const channel = await connection.createChannel();
  closeOnInterrupt(connection, channel);
  await channel.assertQueue('rpc_queue', { durable: true, arguments: { 'x-queue-type': 'quorum' } });
  await channel.prefetch(1);
  console.log(' [x] Waiting for RPC requests');
  await channel.consume('rpc_queue', (request) => {
    const n = Number.parseInt(request.content, 10);
    console.log(` [.] fib(${n})`);
    const { replyTo, correlationId } = request.properties;
    channel.sendToQueue(replyTo, Buffer.from(String(fib(n))), { correlationId });
    channel.ack(request);
  });
}

main();
