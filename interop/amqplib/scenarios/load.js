'use strict';

const { Inbox, awaitReady, body, equal, lacking, send } = require('../harness');

const PUBLISHERS = 8;
const MESSAGES_EACH = 1000;

const numbers = (count) => Array.from({ length: count }, (_, n) => n);

exports.concurrent_publishing = async (session) => {
  const channel = await session.channel();
  const queue = await session.sharedQueue(channel);
  const connections = await Promise.all([session.connect(), session.connect()]);
  const publishAll = async (publisher) => {
    const own = await session.confirmChannel(connections[publisher % connections.length]);
    for (let n = 0; n < MESSAGES_EACH; n += 100) {
      send(own, queue, ...numbers(100).map((step) => `${publisher} ${n + step}`));
      await own.waitForConfirms();
    }
  };
  const inbox = await Inbox.open(channel, queue, { noAck: true });
  await Promise.all(numbers(PUBLISHERS).map(publishAll));
  const received = numbers(PUBLISHERS).map(() => []);
  for (const text of await inbox.bodies(PUBLISHERS * MESSAGES_EACH)) {
    const [publisher, number] = text.split(' ').map(Number);
    received[publisher].push(number);
  }
  received.forEach((own, publisher) => {
    const complete = own.length === MESSAGES_EACH && own.every((number, n) => number === n);
    equal(complete, true, `publisher ${publisher} arrived in order, once each`);
  });
};

exports.slow_consumer = async (session) => {
  const setup = await session.channel();
  const slowQueue = await session.sharedQueue(setup, 'slow');
  const fastQueue = await session.sharedQueue(setup, 'fast');
  const slow = await session.channel();
  await slow.prefetch(20);
  const slowInbox = await Inbox.open(slow, slowQueue);
  const publisher = await session.channel();
  send(publisher, slowQueue, ...numbers(2000).map((n) => `${n} ${'.'.repeat(4096)}`));

  const fastInbox = await Inbox.open(await session.channel(), fastQueue, { noAck: true });
  send(publisher, fastQueue, ...numbers(5000).map(String));
  equal(await fastInbox.bodies(5000), numbers(5000).map(String), "the fast consumer's messages");

  await slowInbox.wait(20);
  await awaitReady(publisher, slowQueue, 1980);
  for (let settled = 0; settled < 2000; settled = slowInbox.messages.length) {
    await slowInbox.wait(settled + 1);
    slow.ack(slowInbox.messages.at(-1), true);
  }
  const received = slowInbox.messages.map((message) => Number.parseInt(body(message), 10));
  equal(received, numbers(2000), "the slow consumer's messages");
};

exports.unread_consumer = lacking('amqplib reads whatever arrives');
