'use strict';

const {
  Inbox,
  awaitReady,
  body,
  channelError,
  connectionError,
  counts,
  drainFrom,
  equal,
  numbers,
  numerals,
  send,
} = require('../harness');

exports.channel_open_close = async (stage) => {
  const connection = await stage.connect();
  for (let n = 0; n < 200; n++) {
    const channel = await connection.channel();
    await channel.close();
  }
  equal((await connection.channel()).id, 1, 'channel number after 200 others');
};

exports.thousand_channels = async (stage) => {
  const connection = await stage.connect();
  const publisher = await stage.channel();
  const queue = await stage.declareShared(publisher);
  const channels = await Promise.all(numbers(1000).map(() => connection.channel()));
  const consumers = await Promise.all(
    channels.map(async (channel) => {
      await channel.prefetch(1);
      return channel.basicConsume(queue, { noAck: false });
    }),
  );
  await send(publisher, queue, ...numerals(1000));
  const received = await Promise.all(consumers.map(async ({ messages }) => (await messages.next()).value));
  equal(
    received.map((message) => Number(body(message))).sort((a, b) => a - b),
    numbers(1000),
    'messages over all channels',
  );
  await Promise.all(
    received.map(async (message) => {
      await message.ack();
      await message.channel.close();
    }),
  );
  equal(await drainFrom(publisher, queue), [], 'messages left');
};

exports.error_closes_only_the_channel = async (stage) => {
  const connection = await stage.connect();
  const [healthy, faulty] = [await connection.channel(), await connection.channel()];
  const queue = await stage.declare(healthy, 'healthy');
  const { messages } = await healthy.basicConsume(queue, { noAck: true });
  const held = await stage.declare(healthy, 'held');
  await send(faulty, held, 'unsettled');
  await faulty.basicGet(held, { noAck: false });
  await channelError(faulty, 404, "NOT_FOUND - no queue 'nothing' in vhost '/'", () => counts(faulty, 'nothing'));
  await send(healthy, queue, 'still here');
  equal(body((await messages.next()).value), 'still here', 'message of the other channel');
  equal((await connection.channel()).id, faulty.id, 'number used again');
  const message = await healthy.basicGet(held);
  equal([body(message), message.redelivered], ['unsettled', true], 'message of the closed channel');
};

exports.not_found = async (stage) => {
  const connection = await stage.connect();
  const owner = await connection.channel();
  const queue = await stage.declare(owner);
  const exchange = await stage.declareExchange(owner, 'direct');
  const noQueue = "NOT_FOUND - no queue 'nothing' in vhost '/'";
  const noExchange = "NOT_FOUND - no exchange 'nothing' in vhost '/'";
  const attempts = [
    [noQueue, (channel) => counts(channel, 'nothing')],
    [noQueue, (channel) => channel.basicGet('nothing')],
    [noQueue, (channel) => channel.basicConsume('nothing', {})],
    [noQueue, (channel) => channel.queuePurge('nothing')],
    [noQueue, (channel) => channel.queueBind('nothing', exchange, 'key')],
    [noExchange, (channel) => channel.queueBind(queue, 'nothing', 'key')],
    [noExchange, (channel) => channel.exchangeDeclare('nothing', 'direct', { passive: true })],
    [noExchange, (channel) => channel.exchangeBind(exchange, 'nothing', 'key')],
    [noExchange, (channel) => channel.basicPublish('nothing', 'key', 'lost')],
    ['NOT_FOUND - no previously declared queue', (channel) => channel.basicConsume('', {})],
  ];
  for (const [text, attempt] of attempts) {
    const channel = await connection.channel();
    await channelError(channel, 404, text, () => attempt(channel));
  }
};

exports.access_refused = async (stage) => {
  const connection = await stage.connect();
  const owner = await connection.channel();
  const queue = await stage.declare(owner);
  const internal = await stage.declareExchange(owner, 'fanout', 'exchange', { internal: true });
  const defaultExchange = 'ACCESS_REFUSED - operation not permitted on the default exchange';
  const attempts = [
    [
      "ACCESS_REFUSED - queue name 'amq.interop' contains reserved prefix 'amq.*'",
      (channel) => channel.queueDeclare('amq.interop'),
    ],
    [
      "ACCESS_REFUSED - exchange name 'amq.interop' contains reserved prefix 'amq.*'",
      (channel) => channel.exchangeDeclare('amq.interop', 'direct'),
    ],
    [defaultExchange, (channel) => channel.queueBind(queue, '', 'key')],
    [defaultExchange, (channel) => channel.queueUnbind(queue, '', 'key')],
    [defaultExchange, (channel) => channel.exchangeDelete('')],
    [
      `ACCESS_REFUSED - cannot publish to internal exchange '${internal}' in vhost '/'`,
      (channel) => channel.basicPublish(internal, 'key', 'refused'),
    ],
  ];
  for (const [text, attempt] of attempts) {
    const channel = await connection.channel();
    await channelError(channel, 403, text, () => attempt(channel));
  }
};

exports.resource_locked = async (stage) => {
  const owner = await stage.channel();
  const queue = await stage.declare(owner);
  const intruder = await stage.connect();
  const text =
    `RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '${queue}' in vhost '/'. It could be ` +
    'originally declared on another connection or the exclusive property value does not match that of the ' +
    'original declaration.';
  for (const attempt of [
    (channel) => channel.queueDeclare(queue, { exclusive: true, durable: false }),
    (channel) => counts(channel, queue),
    (channel) => channel.basicGet(queue),
    (channel) => channel.basicConsume(queue, {}),
    (channel) => channel.queuePurge(queue),
    (channel) => channel.queueDelete(queue),
    (channel) => channel.queueBind(queue, 'amq.fanout', ''),
  ]) {
    const channel = await intruder.channel();
    await channelError(channel, 405, text.slice(0, 255), () => attempt(channel));
  }
  await send(owner, queue, 'mine');
  equal(await drainFrom(owner, queue), ['mine'], 'messages of the owner');
};

exports.precondition_failed = async (stage) => {
  const connection = await stage.connect();
  const owner = await connection.channel();
  const queue = await stage.declare(owner);
  const exchange = await stage.declareExchange(owner, 'fanout');
  await owner.queueBind(queue, exchange, '');

  const stranger = await connection.channel();
  const unknown = (tag) => `PRECONDITION_FAILED - unknown delivery tag ${tag}`;
  await channelError(stranger, 406, unknown(99), () => stranger.basicAck(99));
  // A message object acknowledges itself only once, so the channel has to be told.
  const twice = await connection.channel();
  await send(twice, queue, 'once');
  const { deliveryTag } = await twice.basicGet(queue, { noAck: false });
  await channelError(twice, 406, unknown(deliveryTag), async () => {
    await twice.basicAck(deliveryTag);
    await twice.basicAck(deliveryTag);
  });

  await send(owner, queue, 'kept');
  await awaitReady(owner, queue, 1);
  const notEmpty = await connection.channel();
  await channelError(notEmpty, 406, `PRECONDITION_FAILED - queue '${queue}' in vhost '/' not empty`, () =>
    notEmpty.queueDelete(queue, { ifEmpty: true }),
  );
  await Inbox.open(owner, queue);
  const inUse = await connection.channel();
  await channelError(inUse, 406, `PRECONDITION_FAILED - queue '${queue}' in vhost '/' in use`, () =>
    inUse.queueDelete(queue, { ifUnused: true }),
  );
  const bound = await connection.channel();
  await channelError(bound, 406, `PRECONDITION_FAILED - exchange '${exchange}' in vhost '/' in use`, () =>
    bound.exchangeDelete(exchange, { ifUnused: true }),
  );
};

exports.duplicate_consumer_tag = async (stage) => {
  const bystander = await stage.channel();
  const queue = await stage.declareShared(bystander);
  const connection = await stage.connect();
  const channel = await connection.channel();
  await channel.basicConsume(queue, { tag: 'twice' });
  await connectionError(connection, 530, "NOT_ALLOWED - attempt to reuse consumer tag 'twice'", () =>
    channel.basicConsume(queue, { tag: 'twice' }),
  );
  await send(bystander, queue, 'untouched');
  equal(await drainFrom(bystander, queue), ['untouched'], 'messages of another connection');
};

exports.not_implemented = async (stage) => {
  const bystander = await stage.channel();
  const queue = await stage.declare(bystander);
  for (const [text, attempt] of [
    ['NOT_IMPLEMENTED - prefetch_size!=0 (1024)', (channel) => channel.basicQos(1, 1024)],
    ['NOT_IMPLEMENTED - requeue=false', (channel) => channel.basicRecover(false)],
    ['NOT_IMPLEMENTED - active=false', (channel) => channel.basicFlow(false)],
  ]) {
    const connection = await stage.connect();
    const channel = await connection.channel();
    await connectionError(connection, 540, text, () => attempt(channel));
  }
  await send(bystander, queue, 'untouched');
  equal(await drainFrom(bystander, queue), ['untouched'], 'messages of another connection');
};
