// Hello world: prints the messages of a queue until Ctrl-C.
'use strict';

const { connect, closeOnInterrupt } = require('./broker');

async function main() {
  const connection = await connect();
  const channel = await connection.createChannel();
  closeOnInterrupt(connection, channel);
  await channel.assertQueue('hello', { durable: true, arguments: { 'x-queue-type': 'quorum' } });
  console.log(' [*] Waiting for messages. To exit press CTRL+C');
  await channel.consume('hello', (message) => console.log(` [x] Received '${message.content}'`), { noAck: true });
}

main();
