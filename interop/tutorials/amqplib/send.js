// Hello world: puts one message into a queue.
'use strict';

const { connect } = require('./broker');

async function main() {
  const connection = await connect();
  const channel = await connection.createChannel();
  // Sending to a queue that does not exist would lose the message, so the sender declares it too.
  await channel.assertQueue('hello', { durable: true, arguments: { 'x-queue-type': 'quorum' } });
  channel.sendToQueue('hello', Buffer.from('Hello World!'));
  console.log(" [x] Sent 'Hello World!'");
  await channel.close();
  await connection.close();
}

main();
