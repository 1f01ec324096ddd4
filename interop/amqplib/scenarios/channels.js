'use strict';

const { Inbox, awaitReady, body, channelError, connectionError, drain, equal, lacking, send } = require('../harness');

exports.channel_open_close = async (session) => {
  const connection = await session.connect();
  for (let n = 0; n < 200; n++) {
    const channel = await connection.createChannel();
    await channel.close();
  }
  equal((await session.channel(connection)).ch, 1, 'channel number after 200 others');
};

exports.thousand_channels = async (session) => {
  const connection = await session.connect();
  const publisher = await session.channel();
  const queue = await session.sharedQueue(publisher);
  const channels = await Promise.all(Array.from({ length: 1000 }, () => session.channel(connection)));
  const inboxes = await Promise.all(
    channels.map(async (channel) => {
      await channel.prefetch(1);
      return Inbox.open(channel, queue);
    }),
  );
  send(publisher, queue, ...channels.map((_, n) => String(n)));
  const received = await Promise.all(inboxes.map((inbox) => inbox.bodies(1)));
  equal(
    received.flat().map(Number).sort((a, b) => a - b),
    channels.map((_, n) => n),
    'messages over all channels',
  );
  await Promise.all(
    channels.map((channel, n) => {
      channel.ack(inboxes[n].messages[0]);
      return channel.close();
    }),
  );
  equal(await drain(publisher, queue), [], 'messages left');
};

exports.error_closes_only_the_channel = async (session) => {
  const connection = await session.connect();
  const [healthy, faulty] = [await session.channel(connection), await session.channel(connection)];
  const queue = await session.queue(healthy, 'healthy');
  const inbox = await Inbox.open(healthy, queue);
  const held = await session.queue(healthy, 'held');
  send(faulty, held, 'unsettled');
  await faulty.get(held);
  const number = faulty.ch;
  await channelError(faulty, 404, "NOT_FOUND - no queue 'nothing' in vhost '/'", () => faulty.checkQueue('nothing'));
  send(healthy, queue, 'still here');
  equal(await inbox.bodies(1), ['still here'], 'messages of the other channel');
  equal((await session.channel(connection)).ch, number, 'number used again');
  const message = await healthy.get(held, { noAck: true });
  equal([body(message), message.fields.redelivered], ['unsettled', true], 'message of the closed channel');
};

exports.not_found = async (session) => {
  const connection = await session.connect();
  const owner = await session.channel(connection);
  const queue = await session.queue(owner);
  const exchange = await session.exchange(owner, 'direct');
  const noQueue = "NOT_FOUND - no queue 'nothing' in vhost '/'";
  const noExchange = "NOT_FOUND - no exchange 'nothing' in vhost '/'";
  const attempts = [
    [noQueue, (channel) => channel.checkQueue('nothing')],
    [noQueue, (channel) => channel.get('nothing')],
    [noQueue, (channel) => Inbox.open(channel, 'nothing')],
    [noQueue, (channel) => channel.purgeQueue('nothing')],
    [noQueue, (channel) => channel.bindQueue('nothing', exchange, 'key')],
    [noExchange, (channel) => channel.bindQueue(queue, 'nothing', 'key')],
    [noExchange, (channel) => channel.checkExchange('nothing')],
    [noExchange, (channel) => channel.bindExchange(exchange, 'nothing', 'key')],
    [noExchange, (channel) => channel.publish('nothing', 'key', Buffer.from('lost'))],
    ['NOT_FOUND - no previously declared queue', (channel) => Inbox.open(channel, '')],
  ];
  for (const [text, attempt] of attempts) {
    const channel = await session.channel(connection);
    await channelError(channel, 404, text, () => attempt(channel));
  }
  await session.channel(connection);
};

exports.access_refused = async (session) => {
  const connection = await session.connect();
  const owner = await session.channel(connection);
  const queue = await session.queue(owner);
  const internal = await session.exchange(owner, 'fanout', 'exchange', { internal: true });
  const defaultExchange = 'ACCESS_REFUSED - operation not permitted on the default exchange';
  const attempts = [
    [
      "ACCESS_REFUSED - queue name 'amq.interop' contains reserved prefix 'amq.*'",
      (channel) => channel.assertQueue('amq.interop'),
    ],
    [
      "ACCESS_REFUSED - exchange name 'amq.interop' contains reserved prefix 'amq.*'",
      (channel) => channel.assertExchange('amq.interop', 'direct'),
    ],
    [defaultExchange, (channel) => channel.bindQueue(queue, '', 'key')],
    [defaultExchange, (channel) => channel.unbindQueue(queue, '', 'key')],
    [defaultExchange, (channel) => channel.deleteExchange('')],
    [
      `ACCESS_REFUSED - cannot publish to internal exchange '${internal}' in vhost '/'`,
      (channel) => channel.publish(internal, 'key', Buffer.from('refused')),
    ],
  ];
  for (const [text, attempt] of attempts) {
    const channel = await session.channel(connection);
    await channelError(channel, 403, text, () => attempt(channel));
  }
};

exports.resource_locked = async (session) => {
  const owner = await session.channel();
  const queue = await session.queue(owner);
  const intruder = await session.connect();
  const text =
    `RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '${queue}' in vhost '/'. It could be ` +
    'originally declared on another connection or the exclusive property value does not match that of the ' +
    'original declaration.';
  for (const attempt of [
    (channel) => channel.assertQueue(queue, { exclusive: true, durable: false }),
    (channel) => channel.checkQueue(queue),
    (channel) => channel.get(queue),
    (channel) => Inbox.open(channel, queue),
    (channel) => channel.purgeQueue(queue),
    (channel) => channel.deleteQueue(queue),
    (channel) => channel.bindQueue(queue, 'amq.fanout', ''),
  ]) {
    const channel = await session.channel(intruder);
    await channelError(channel, 405, text.slice(0, 255), () => attempt(channel));
  }
  send(owner, queue, 'mine');
  equal(await drain(owner, queue), ['mine'], 'messages of the owner');
};

exports.precondition_failed = async (session) => {
  const connection = await session.connect();
  const owner = await session.channel(connection);
  const queue = await session.queue(owner);
  const exchange = await session.exchange(owner, 'fanout');
  await owner.bindQueue(queue, exchange, '');

  const stranger = await session.channel(connection);
  await channelError(stranger, 406, 'PRECONDITION_FAILED - unknown delivery tag 99', () =>
    stranger.ack({ fields: { deliveryTag: 99 } }),
  );
  const twice = await session.channel(connection);
  send(twice, queue, 'once');
  const message = await twice.get(queue);
  await channelError(twice, 406, 'PRECONDITION_FAILED - unknown delivery tag 1', () => {
    twice.ack(message);
    twice.ack(message);
  });

  send(owner, queue, 'kept');
  await awaitReady(owner, queue, 1);
  const notEmpty = await session.channel(connection);
  await channelError(notEmpty, 406, `PRECONDITION_FAILED - queue '${queue}' in vhost '/' not empty`, () =>
    notEmpty.deleteQueue(queue, { ifEmpty: true }),
  );
  await Inbox.open(owner, queue);
  const inUse = await session.channel(connection);
  await channelError(inUse, 406, `PRECONDITION_FAILED - queue '${queue}' in vhost '/' in use`, () =>
    inUse.deleteQueue(queue, { ifUnused: true }),
  );
  const bound = await session.channel(connection);
  await channelError(bound, 406, `PRECONDITION_FAILED - exchange '${exchange}' in vhost '/' in use`, () =>
    bound.deleteExchange(exchange, { ifUnused: true }),
  );
};

exports.duplicate_consumer_tag = async (session) => {
  const bystander = await session.channel();
  const queue = await session.sharedQueue(bystander);
  const connection = await session.connect();
  const channel = await session.channel(connection);
  await Inbox.open(channel, queue, { consumerTag: 'twice' });
  await connectionError(connection, 530, "NOT_ALLOWED - attempt to reuse consumer tag 'twice'", () =>
    Inbox.open(channel, queue, { consumerTag: 'twice' }),
  );
  send(bystander, queue, 'untouched');
  equal(await drain(bystander, queue), ['untouched'], 'messages of another connection');
};

exports.not_implemented = lacking('amqplib offers no prefetch size, no recover without requeue, no flow');
