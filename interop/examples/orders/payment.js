// Charges cards. What fails is rejected into a queue whose messages come back after a pause; what has failed three times goes to
// the dead-letter queue, where a person can look at it. An order is acknowledged when what follows from it is confirmed.
'use strict';

const amqp = require('amqplib');

const URL = process.env.AMQP_URL ?? 'amqp://guest:guest@localhost';
const ATTEMPTS = 3;
const PAUSE_MS = 200;

function charge(order, attempt) {
  return order.card === 'good' || (order.card === 'busy' && attempt > 1);
}

/** How often the message was rejected before, which the broker keeps in its headers. */
function rejections(message) {
  const deaths = message.properties.headers?.['x-death'] ?? [];
  const own = deaths.find((death) => death.queue === 'payment' && death.reason === 'rejected');
  return own ? own.count : 0;
}

async function main() {
  const connection = await amqp.connect(URL);
  const channel = await connection.createConfirmChannel();
  await channel.assertExchange('shop', 'topic', { durable: true });
  await channel.assertQueue('payment', { durable: true, deadLetterExchange: '', deadLetterRoutingKey: 'payment.retry' });
  await channel.assertQueue('payment.retry', {
    durable: true, messageTtl: PAUSE_MS, deadLetterExchange: '', deadLetterRoutingKey: 'payment',
  });
  await channel.assertQueue('payment.failed', { durable: true });
  await channel.bindQueue('payment', 'shop', 'order.placed');
  await channel.prefetch(10);

  const publish = (exchange, key, message, headers) => new Promise((resolve, reject) => {
    const options = { persistent: true, messageId: message.properties.messageId, headers };
    channel.publish(exchange, key, message.content, options, (error) => (error ? reject(error) : resolve()));
  });

  await channel.consume('payment', async (message) => {
    const order = JSON.parse(message.content);
    const attempt = rejections(message) + 1;
    if (charge(order, attempt)) {
      await publish('shop', 'order.paid', message, { attempt });
    } else if (attempt < ATTEMPTS) {
      channel.nack(message, false, false);
      return;
    } else {
      await publish('', 'payment.failed', message, { attempt });
    }
    channel.ack(message);
    console.log(`settled order ${order.id}`);
  });
  console.log('ready');
}

main();
