'use strict';

const { Inbox, awaitReady, body, channelError, drain, equal, numerals, send, take } = require('../harness');

/** Publishes five messages and takes them without acknowledging. */
async function five(channel, queue) {
  send(channel, queue, '1', '2', '3', '4', '5');
  const inbox = await Inbox.open(channel, queue);
  const messages = await inbox.wait(5);
  await channel.cancel(inbox.tag);
  return messages;
}

/** Takes everything out with get: the bodies, each with its redelivered flag. */
async function flagged(channel, queue) {
  const messages = await take(channel, queue);
  return messages.map((message) => [body(message), message.fields.redelivered]);
}

exports.consume_and_ack = async (session) => {
  const connection = await session.connect();
  const channel = await session.channel(connection);
  const queue = await session.queue(channel);
  send(channel, queue, ...numerals(100));
  const received = [];
  await new Promise((resolve) => {
    channel.consume(queue, (message) => {
      const { deliveryTag, redelivered, exchange, routingKey } = message.fields;
      received.push([deliveryTag, redelivered, exchange, routingKey, Number(body(message))]);
      channel.ack(message);
      if (received.length === 100) resolve();
    });
  });
  equal(
    received,
    numerals(100).map((_, n) => [n + 1, false, '', queue, n]),
    'deliveries',
  );
  await channel.close();
  equal(await drain(await session.channel(connection), queue), [], 'messages left');
};

exports.no_ack = async (session) => {
  const connection = await session.connect();
  const channel = await session.channel(connection);
  const queue = await session.queue(channel);
  await channel.prefetch(1);
  const inbox = await Inbox.open(channel, queue, { noAck: true });
  send(channel, queue, ...numerals(50));
  equal(await inbox.bodies(50), numerals(50), 'messages');
  await channel.close();
  equal(await drain(await session.channel(connection), queue), [], 'messages left');
};

exports.prefetch = async (session) => {
  const channel = await session.channel();
  const queue = await session.queue(channel);
  await channel.prefetch(5);
  send(channel, queue, ...numerals(20));
  const first = await Inbox.open(channel, queue);
  await first.wait(5);
  await awaitReady(channel, queue, 15);
  const second = await Inbox.open(channel, queue);
  await second.wait(5);
  await awaitReady(channel, queue, 10);
  channel.ack(first.messages[0]);
  await first.wait(6);
  await awaitReady(channel, queue, 9);
  equal([first.messages.length, second.messages.length], [6, 5], 'deliveries to each');
};

exports.prefetch_per_channel = async (session) => {
  const channel = await session.channel();
  const queue = await session.queue(channel);
  await channel.prefetch(5, true);
  const inboxes = [await Inbox.open(channel, queue), await Inbox.open(channel, queue)];
  const received = () => inboxes[0].messages.length + inboxes[1].messages.length;
  const until = (count) =>
    Promise.race(inboxes.map((inbox) => inbox.until(() => received() >= count)));
  send(channel, queue, ...numerals(20));
  await until(5);
  await awaitReady(channel, queue, 15);
  equal(received(), 5, 'held by the channel');
  channel.ackAll();
  await until(10);
  await awaitReady(channel, queue, 10);
  equal(received(), 10, 'held by the channel and settled');
};

exports.ack_multiple = async (session) => {
  const connection = await session.connect();
  const channel = await session.channel(connection);
  const queue = await session.queue(channel);
  const messages = await five(channel, queue);
  channel.ack(messages[2], true);
  await channel.close();
  const other = await session.channel(connection);
  equal(
    await flagged(other, queue),
    [
      ['4', true],
      ['5', true],
    ],
    'messages beyond the tag',
  );
  await five(other, queue);
  other.ackAll();
  await other.close();
  equal(await drain(await session.channel(connection), queue), [], 'messages left');
};

exports.nack = async (session) => {
  const channel = await session.channel();
  const queue = await session.queue(channel);
  const messages = await five(channel, queue);
  channel.nack(messages[0], false, false);
  channel.nack(messages[1]);
  equal(await flagged(channel, queue), [['2', true]], 'requeued one by one');
  channel.nack(messages[3], true);
  equal(
    await flagged(channel, queue),
    [
      ['3', true],
      ['4', true],
    ],
    'requeued up to the tag',
  );
  channel.nackAll(false);
  channel.nackAll(true);
  equal(await drain(channel, queue), [], 'messages left');
};

exports.reject = async (session) => {
  const channel = await session.channel();
  const queue = await session.queue(channel);
  const messages = await five(channel, queue);
  channel.reject(messages[0], false);
  channel.reject(messages[1], true);
  equal(await flagged(channel, queue), [['2', true]], 'requeued');
  for (const message of messages.slice(2)) channel.reject(message, false);
  equal(await drain(channel, queue), [], 'messages left');
};

exports.requeue_order = async (session) => {
  const channel = await session.channel();
  const queue = await session.queue(channel);
  const messages = await five(channel, queue);
  send(channel, queue, '6');
  for (const position of [2, 0, 4, 1, 3]) channel.nack(messages[position]);
  const expected = ['1', '2', '3', '4', '5'].map((text) => [text, true]);
  equal(await flagged(channel, queue), [...expected, ['6', false]], 'order after requeue');
};

exports.recover = async (session) => {
  const channel = await session.channel();
  const queue = await session.queue(channel);
  send(channel, queue, '1', '2', '3');
  const inbox = await Inbox.open(channel, queue);
  const [first] = await inbox.wait(3);
  channel.ack(first);
  await channel.recover();
  equal(await inbox.bodies(5), ['1', '2', '3', '2', '3'], 'messages');
  equal(inbox.redelivered(), [false, false, false, true, true], 'redelivered');
  equal(
    inbox.messages.map((message) => message.fields.deliveryTag),
    [1, 2, 3, 4, 5],
    'delivery tags',
  );
};

exports.unacked_requeued_on_close = async (session) => {
  const observer = await session.channel();
  const queue = await session.sharedQueue(observer);
  const holder = await session.connect();
  const channel = await session.channel(holder);
  send(channel, queue, '1', '2', '3');
  await (await Inbox.open(channel, queue)).wait(3);
  const second = await Inbox.open(await session.channel(holder), queue);
  await channel.close();
  equal(await second.bodies(3), ['1', '2', '3'], 'after the channel closed');
  equal(second.redelivered(), [true, true, true], 'redelivered');
  const third = await Inbox.open(observer, queue);
  await holder.close();
  equal(await third.bodies(3), ['1', '2', '3'], 'after the connection closed');
  equal(third.redelivered(), [true, true, true], 'redelivered');
};

exports.consumer_cancel = async (session) => {
  const channel = await session.channel();
  const queue = await session.queue(channel);
  const inbox = await Inbox.open(channel, queue, { consumerTag: 'my-consumer' });
  equal(inbox.tag, 'my-consumer', 'consumer tag');
  send(channel, queue, 'before');
  const [message] = await inbox.wait(1);
  equal(message.fields.consumerTag, 'my-consumer', 'consumer tag of the delivery');
  await channel.cancel(inbox.tag);
  send(channel, queue, 'after');
  await awaitReady(channel, queue, 1);
  channel.ack(message);
  equal(await drain(channel, queue), ['after'], 'messages left');
  equal(await inbox.bodies(), ['before'], 'delivered');
  await channel.cancel('never a consumer');
};

exports.cancel_notify = async (session) => {
  const connection = await session.connect();
  const channel = await session.channel(connection);
  const queue = await session.queue(channel);
  const inboxes = [await Inbox.open(channel, queue), await Inbox.open(channel, queue)];
  await (await session.channel(connection)).deleteQueue(queue);
  await Promise.all(inboxes.map((inbox) => inbox.until(() => inbox.cancelled)));
  equal(
    inboxes.map((inbox) => /^amq\.ctag-/.test(inbox.tag)),
    [true, true],
    `consumer tags ${inboxes.map((inbox) => inbox.tag)} are named by the server`,
  );
  await channel.prefetch(1);
};

exports.exclusive_consumer = async (session) => {
  const connection = await session.connect();
  const owner = await session.channel(connection);
  const queue = await session.queue(owner);
  const inUse = `ACCESS_REFUSED - queue '${queue}' in vhost '/' in exclusive use`;
  const inbox = await Inbox.open(owner, queue, { exclusive: true });
  const second = await session.channel(connection);
  await channelError(second, 403, inUse, () => Inbox.open(second, queue));
  await owner.cancel(inbox.tag);
  await Inbox.open(owner, queue);
  const third = await session.channel(connection);
  await channelError(third, 403, inUse, () => Inbox.open(third, queue, { exclusive: true }));
};

exports.round_robin = async (session) => {
  const channel = await session.channel();
  const queue = await session.queue(channel);
  const inboxes = [];
  for (let n = 0; n < 3; n++) inboxes.push(await Inbox.open(channel, queue, { noAck: true }));
  send(channel, queue, ...numerals(30));
  const shares = await Promise.all(inboxes.map((inbox) => inbox.bodies(10)));
  const turns = [0, 1, 2].map((turn) => numerals(30).filter((text) => Number(text) % 3 === turn));
  equal(shares.sort(), turns.sort(), 'turns');
};

exports.consumer_priority = async (session) => {
  const channel = await session.channel();
  const queue = await session.queue(channel);
  const low = await Inbox.open(channel, queue, { priority: -5 });
  const usual = await Inbox.open(channel, queue);
  await channel.prefetch(3);
  const high = await Inbox.open(channel, queue, { priority: 10 });
  send(channel, queue, ...numerals(10));
  equal(await high.bodies(3), ['0', '1', '2'], 'high priority, until its prefetch');
  equal(await usual.bodies(7), ['3', '4', '5', '6', '7', '8', '9'], 'usual priority');
  equal(await low.bodies(), [], 'low priority');
};

exports.get = async (session) => {
  const connection = await session.connect();
  const channel = await session.channel(connection);
  const queue = await session.queue(channel);
  equal(await channel.get(queue), false, 'get from an empty queue');
  send(channel, queue, 'a', 'b', 'c');
  const place = { exchange: '', routingKey: queue };
  const first = await channel.get(queue);
  equal(body(first), 'a', 'first');
  equal(first.fields, { deliveryTag: 1, redelivered: false, messageCount: 2, ...place }, 'first');
  const second = await channel.get(queue, { noAck: true });
  equal(body(second), 'b', 'second');
  equal(second.fields, { deliveryTag: 2, redelivered: false, messageCount: 1, ...place }, 'second');
  await channel.close();
  const next = await session.channel(connection);
  const again = await next.get(queue);
  equal(body(again), 'a', 'again');
  equal(again.fields, { deliveryTag: 1, redelivered: true, messageCount: 1, ...place }, 'again');
  next.ack(again);
  equal(await drain(next, queue), ['c'], 'messages left');
};
