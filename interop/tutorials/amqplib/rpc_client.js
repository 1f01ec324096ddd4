// RPC: asks for one Fibonacci number and waits for the answer.
'use strict';

const { randomUUID } = require('node:crypto');
const { connect } = require('./broker');

async function main() {
  const n = Number.parseInt(process.argv[2] ?? '30', 10);
  const connection = await connect();
  const channel = await connection.createChannel();
  const { queue: replyTo } = await channel.assertQueue('', { exclusive: true });
  const correlationId = randomUUID();
  const answer = new Promise((resolve) => {
    // A late answer to an earlier question has another correlation id.
    const onReply = ({ properties, content }) => {
      if (properties.correlationId === correlationId) resolve(Number.parseInt(content, 10));
    };
    channel.consume(replyTo, onReply, { noAck: true });
  });
  console.log(` [x] Requesting fib(${n})`);
  channel.sendToQueue('rpc_queue', Buffer.from(String(n)), { correlationId, replyTo });
  console.log(` [.] Got ${await answer}`);
  await connection.close();
}

main();
