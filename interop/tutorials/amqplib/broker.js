'use strict';

const amqp = require('amqplib');

const URL = process.env.AMQP_URL ?? 'amqp://guest:guest@localhost:5672';

const connect = () => amqp.connect(URL);

/**
 * Ctrl-C ends a program that waits for messages. The channel is closed first, because the close of a connection
 * may overtake acknowledgements that the channel has not sent yet.
 */
function closeOnInterrupt(connection, channel) {
  process.once('SIGINT', async () => {
    await channel.close();
    await connection.close();
    process.exit(0);
  });
}

module.exports = { connect, closeOnInterrupt };
