'use strict';

const {
  Inbox,
  awaitReady,
  body,
  channelError,
  drain,
  drainFrom,
  equal,
  numbers,
  numerals,
  publish,
  refusalOf,
  send,
  takeFrom,
} = require('../harness');

/** Publishes five messages and takes them without acknowledging. */
async function five(channel, queue) {
  await send(channel, queue, '1', '2', '3', '4', '5');
  const inbox = await Inbox.open(channel, queue);
  const messages = await inbox.wait(5);
  await inbox.consumer.cancel();
  return messages;
}

/** Takes everything out with get: the bodies, each with its redelivered flag. */
async function flagged(channel, queue) {
  const messages = await takeFrom(channel, queue);
  return messages.map((message) => [body(message), message.redelivered]);
}

exports.consume_and_ack = async (stage) => {
  const connection = await stage.connect();
  const channel = await connection.channel();
  const queue = await stage.declare(channel);
  await send(channel, queue, ...numerals(100));
  const received = [];
  const consumer = await channel.basicConsume(queue, { noAck: false });
  for await (const message of consumer.messages) {
    const { deliveryTag, redelivered, exchange, routingKey } = message;
    received.push([deliveryTag, redelivered, exchange, routingKey, Number(body(message))]);
    await message.ack();
    if (received.length === 100) break;
  }
  equal(
    received,
    numbers(100).map((n) => [n + 1, false, '', queue, n]),
    'deliveries',
  );
  await channel.close();
  equal(await drainFrom(await connection.channel(), queue), [], 'messages left');
};

exports.no_ack = async (stage) => {
  const session = await stage.session();
  const queue = await stage.queue(session);
  const inbox = await Inbox.subscribe(queue, { noAck: true, prefetch: 1 });
  await publish(queue, ...numerals(50));
  equal(await inbox.bodies(50), numerals(50), 'messages');
  await inbox.subscription.cancel();
  equal(await drain(queue), [], 'messages left');
};

exports.prefetch = async (stage) => {
  const [session, channel] = [await stage.session(), await stage.channel()];
  const queue = await stage.sharedQueue(session);
  await publish(queue, ...numerals(20));
  const first = await Inbox.subscribe(queue, { prefetch: 5 });
  await first.wait(5);
  await awaitReady(channel, queue.name, 15);
  const second = await Inbox.subscribe(queue, { prefetch: 5 });
  await second.wait(5);
  await awaitReady(channel, queue.name, 10);
  await first.messages[0].ack();
  await first.wait(6);
  await awaitReady(channel, queue.name, 9);
  equal([first.messages.length, second.messages.length], [6, 5], 'deliveries to each');
};

exports.prefetch_per_channel = async (stage) => {
  const channel = await stage.channel();
  const queue = await stage.declare(channel);
  await channel.basicQos(5, 0, true);
  const inboxes = [await Inbox.open(channel, queue), await Inbox.open(channel, queue)];
  const received = () => inboxes[0].messages.length + inboxes[1].messages.length;
  const until = (count) => Promise.race(inboxes.map((inbox) => inbox.until(() => received() >= count)));
  await send(channel, queue, ...numerals(20));
  await until(5);
  await awaitReady(channel, queue, 15);
  equal(received(), 5, 'held by the channel');
  await channel.basicAck(0, true);
  await until(10);
  await awaitReady(channel, queue, 10);
  equal(received(), 10, 'held by the channel and settled');
};

exports.ack_multiple = async (stage) => {
  const connection = await stage.connect();
  const channel = await connection.channel();
  const queue = await stage.declare(channel);
  const messages = await five(channel, queue);
  await messages[2].ack(true);
  await channel.close();
  const other = await connection.channel();
  equal(
    await flagged(other, queue),
    [
      ['4', true],
      ['5', true],
    ],
    'messages beyond the tag',
  );
  await five(other, queue);
  await other.basicAck(0, true);
  await other.close();
  equal(await drainFrom(await connection.channel(), queue), [], 'messages left');
};

exports.nack = async (stage) => {
  const channel = await stage.channel();
  const queue = await stage.declare(channel);
  const messages = await five(channel, queue);
  await messages[0].nack();
  await messages[1].nack(true);
  equal(await flagged(channel, queue), [['2', true]], 'requeued one by one');
  await messages[3].nack(true, true);
  equal(
    await flagged(channel, queue),
    [
      ['3', true],
      ['4', true],
    ],
    'requeued up to the tag',
  );
  await messages[4].nack(false, true);
  await channel.basicNack(0, true, true);
  equal(await flagged(channel, queue), [], 'messages left');
};

exports.reject = async (stage) => {
  const channel = await stage.channel();
  const queue = await stage.declare(channel);
  const messages = await five(channel, queue);
  await messages[0].reject();
  await messages[1].reject(true);
  equal(await flagged(channel, queue), [['2', true]], 'requeued');
  for (const message of messages.slice(2)) await message.reject();
  equal(await drainFrom(channel, queue), [], 'messages left');
};

exports.requeue_order = async (stage) => {
  const channel = await stage.channel();
  const queue = await stage.declare(channel);
  const messages = await five(channel, queue);
  await send(channel, queue, '6');
  for (const position of [2, 0, 4, 1, 3]) await messages[position].nack(true);
  const expected = ['1', '2', '3', '4', '5'].map((text) => [text, true]);
  equal(await flagged(channel, queue), [...expected, ['6', false]], 'order after requeue');
};

exports.recover = async (stage) => {
  const channel = await stage.channel();
  const queue = await stage.declare(channel);
  await send(channel, queue, '1', '2', '3');
  const inbox = await Inbox.open(channel, queue);
  const [first] = await inbox.wait(3);
  await first.ack();
  await channel.basicRecover(true);
  equal(await inbox.bodies(5), ['1', '2', '3', '2', '3'], 'messages');
  equal(inbox.redelivered(), [false, false, false, true, true], 'redelivered');
  equal(
    inbox.messages.map((message) => message.deliveryTag),
    [1, 2, 3, 4, 5],
    'delivery tags',
  );
};

exports.unacked_requeued_on_close = async (stage) => {
  const observer = await stage.channel();
  const queue = await stage.declareShared(observer);
  const holder = await stage.connect();
  const channel = await holder.channel();
  await send(channel, queue, '1', '2', '3');
  await (await Inbox.open(channel, queue)).wait(3);
  const second = await Inbox.open(await holder.channel(), queue);
  await channel.close();
  equal(await second.bodies(3), ['1', '2', '3'], 'after the channel closed');
  equal(second.redelivered(), [true, true, true], 'redelivered');
  const third = await Inbox.open(observer, queue);
  await holder.close();
  equal(await third.bodies(3), ['1', '2', '3'], 'after the connection closed');
  equal(third.redelivered(), [true, true, true], 'redelivered');
};

exports.consumer_cancel = async (stage) => {
  const channel = await stage.channel();
  const queue = await stage.declare(channel);
  const inbox = await Inbox.open(channel, queue, { tag: 'my-consumer' });
  equal(inbox.consumer.tag, 'my-consumer', 'consumer tag');
  await send(channel, queue, 'before');
  const [message] = await inbox.wait(1);
  equal(message.consumerTag, 'my-consumer', 'consumer tag of the delivery');
  await message.cancelConsumer();
  await inbox.consumer.wait();
  await send(channel, queue, 'after');
  await awaitReady(channel, queue, 1);
  await message.ack();
  equal(await drainFrom(channel, queue), ['after'], 'messages left');
  equal(await inbox.bodies(), ['before'], 'delivered');
  await channel.basicCancel('never a consumer');
};

exports.cancel_notify = async (stage) => {
  const connection = await stage.connect();
  const channel = await connection.channel();
  const queue = await stage.declare(channel);
  const { consumer } = await Inbox.open(channel, queue);
  const iterated = await channel.basicConsume(queue, { noAck: false });
  const told = Promise.all([refusalOf(consumer.wait()), refusalOf(iterated.messages.next())]);
  await (await connection.channel()).queueDelete(queue);
  const reason = 'Consumer cancelled by the server';
  equal(await told, [reason, reason], 'what callback and iterator are told');
  equal(
    [consumer, iterated].map(({ tag }) => /^amq\.ctag-/.test(tag)),
    [true, true],
    `consumer tags ${consumer.tag} and ${iterated.tag} are named by the server`,
  );
  await channel.prefetch(1);
};

exports.exclusive_consumer = async (stage) => {
  const connection = await stage.connect();
  const owner = await connection.channel();
  const queue = await stage.declare(owner);
  const inUse = `ACCESS_REFUSED - queue '${queue}' in vhost '/' in exclusive use`;
  const consumer = await owner.basicConsume(queue, { exclusive: true });
  const second = await connection.channel();
  await channelError(second, 403, inUse, () => second.basicConsume(queue, {}));
  await consumer.cancel();
  await owner.basicConsume(queue, {});
  const third = await connection.channel();
  await channelError(third, 403, inUse, () => third.basicConsume(queue, { exclusive: true }));
};

exports.round_robin = async (stage) => {
  const session = await stage.session();
  const queue = await stage.queue(session);
  const inboxes = [];
  for (let n = 0; n < 3; n++) inboxes.push(await Inbox.subscribe(queue, { noAck: true }));
  await publish(queue, ...numerals(30));
  const shares = await Promise.all(inboxes.map((inbox) => inbox.bodies(10)));
  const turns = numbers(3).map((turn) => numerals(30).filter((text) => Number(text) % 3 === turn));
  equal(shares.sort(), turns.sort(), 'turns');
};

exports.consumer_priority = async (stage) => {
  const session = await stage.session();
  const queue = await stage.queue(session);
  const low = await Inbox.subscribe(queue, { args: { 'x-priority': -5 } });
  const usual = await Inbox.subscribe(queue);
  const high = await Inbox.subscribe(queue, { prefetch: 3, args: { 'x-priority': 10 } });
  await publish(queue, ...numerals(10));
  equal(await high.bodies(3), ['0', '1', '2'], 'high priority, until its prefetch');
  equal(await usual.bodies(7), ['3', '4', '5', '6', '7', '8', '9'], 'usual priority');
  equal(await low.bodies(), [], 'low priority');
};

exports.get = async (stage) => {
  const session = await stage.session();
  const queue = await stage.queue(session);
  equal(await queue.get(), null, 'get from an empty queue');
  await publish(queue, 'a', 'b', 'c');
  const facts = (message) => [
    body(message),
    message.deliveryTag,
    message.redelivered,
    message.messageCount,
    message.exchange,
    message.routingKey,
  ];
  const first = await queue.get({ noAck: false });
  equal(facts(first), ['a', 1, false, 2, '', queue.name], 'first');
  equal(facts(await queue.get()), ['b', 2, false, 1, '', queue.name], 'second');
  await first.channel.close();
  const again = await queue.get({ noAck: false });
  equal(facts(again), ['a', 1, true, 1, '', queue.name], 'again');
  await again.ack();
  equal(await drain(queue), ['c'], 'messages left');
};
