'use strict';

const { once } = require('node:events');
const amqp = require('amqplib');
const { Arrivals, Inbox, awaitReady, body, equal, numbers, numerals, reconnected, send } = require('../harness');

const PUBLISHERS = 8;
const MESSAGES_EACH = 1000;

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
  send(publisher, fastQueue, ...numerals(5000));
  equal(await fastInbox.bodies(5000), numerals(5000), "the fast consumer's messages");

  await slowInbox.wait(20);
  await awaitReady(publisher, slowQueue, 1980);
  for (let settled = 0; settled < 2000; settled = slowInbox.messages.length) {
    await slowInbox.wait(settled + 1);
    slow.ack(slowInbox.messages.at(-1), true);
  }
  const received = slowInbox.messages.map((message) => Number.parseInt(body(message), 10));
  equal(received, numbers(2000), "the slow consumer's messages");
};

exports.unread_consumer = async (session) => {
  const channel = await session.channel();
  const unread = await session.sharedQueue(channel, 'unread');
  const fast = await session.sharedQueue(channel, 'fast');
  const standing = session.standingConsumer({ queue: unread, heartbeat: 60, noAck: true });
  const padding = '.'.repeat(32768);
  send(channel, unread, ...numerals(2048).map((number) => `${number} ${padding}`));
  await standing.wait(1);

  const inbox = await Inbox.open(await session.channel(), fast, { noAck: true });
  send(channel, fast, ...numerals(5000));
  equal(await inbox.bodies(5000), numerals(5000), 'messages of the other consumer');

  standing.letGo();
  const received = (await standing.wait(2048)).map((text) => Number.parseInt(text, 10));
  equal(received, numbers(2048), 'messages read at last');
};

exports.survives_restart = async (session) => {
  const connection = await session.connect();
  const channel = await session.confirmChannel(connection);
  const exchange = await session.exchange(channel, 'direct', 'exchange', { durable: true });
  const queue = await session.sharedQueue(channel, 'queue', { durable: true });
  await channel.bindQueue(queue, exchange, 'key');
  const publish = (on, text, persistent) => on.publish(exchange, 'key', Buffer.from(text), { persistent });
  for (const text of numerals(5)) publish(channel, text, true);
  publish(channel, 'transient', false);
  await channel.waitForConfirms();
  for (let n = 0; n < 2; n++) await channel.get(queue);
  const closed = once(connection, 'close');
  session.ask('restart');
  await closed;

  const again = await session.channel(await reconnected(() => session.connect()));
  publish(again, '5', true);
  const inbox = await Inbox.open(again, queue);
  equal(await inbox.bodies(6), numerals(6), 'messages after the restart');
  equal(inbox.redelivered(), [true, true, false, false, false, false], 'redelivered');
};

exports.automatic_recovery = async (session) => {
  const exchange = session.name('exchange');
  const arrivals = new Arrivals();
  const channels = [];
  // The client runs this on every connection that it makes.
  const setup = async (connection) => {
    const channel = session.watched(await connection.createChannel());
    channels.push(channel);
    await channel.prefetch(2);
    await channel.assertExchange(exchange, 'direct', { durable: false, autoDelete: true });
    const { queue } = await channel.assertQueue(session.name('queue'), { exclusive: true });
    await channel.bindQueue(queue, exchange, 'key');
    await channel.consume(queue, (message) => arrivals.add(message));
  };
  const connection = await amqp.connect(session.url, { recovery: { initialDelay: 100, maxDelay: 500, setup } });
  session.connections.push(connection);
  await roundTrip('before');

  const recovered = once(connection, 'connect');
  session.ask('restart');
  await recovered;
  await roundTrip('after');
  equal(channels.length, 2, 'times that the client set up its channel');

  async function roundTrip(when) {
    const publisher = session.watched(await connection.createChannel());
    const already = arrivals.list.length;
    for (const number of numerals(3)) publisher.publish(exchange, 'key', Buffer.from(`${when} ${number}`));
    const [first, second] = (await arrivals.wait(already + 2)).slice(already);
    equal([body(first), body(second)], [`${when} 0`, `${when} 1`], 'messages, as many as the prefetch');
    await awaitReady(publisher, session.name('queue'), 1);
    channels.at(-1).ack(second, true);
    equal(body((await arrivals.wait(already + 3)).at(-1)), `${when} 2`, 'message after the acknowledgement');
    equal(arrivals.list.length, already + 3, 'messages');
  }
};
