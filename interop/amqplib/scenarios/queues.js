'use strict';

const { Inbox, awaitReady, body, channelError, drain, equal, eventually, send } = require('../harness');

exports.queue_declare = async (session) => {
  const channel = await session.channel();
  const queue = session.name('queue');
  for (let n = 0; n < 2; n++) {
    const declared = await channel.assertQueue(queue, { exclusive: true });
    equal(declared, { queue, messageCount: 0, consumerCount: 0 }, 'declare-ok');
  }
  send(channel, queue, 'a', 'b', 'c');
  await awaitReady(channel, queue, 3);
  equal(await channel.checkQueue(queue), { queue, messageCount: 3, consumerCount: 0 }, 'passive declare-ok');
  const inbox = await Inbox.open(channel, queue);
  await inbox.wait(3);
  const declared = await channel.assertQueue(queue, { exclusive: true });
  equal(declared, { queue, messageCount: 0, consumerCount: 1 }, 'ready messages and consumers');
};

exports.queue_mismatch = async (session) => {
  const connection = await session.connect();
  const owner = await session.channel(connection);
  const plain = await session.sharedQueue(owner, 'plain');
  const limited = await session.sharedQueue(owner, 'limited', { messageTtl: 60000 });
  const inequivalent = (argument, queue, difference) =>
    `PRECONDITION_FAILED - inequivalent arg '${argument}' for queue '${queue}' in vhost '/': ${difference}`;
  const locked =
    `RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '${plain}' in vhost '/'. It could be ` +
    'originally declared on another connection or the exclusive property value does not match that of the ' +
    'original declaration.';
  const flag = "received 'true' but current is 'false'";
  const cases = [
    [plain, { durable: true }, 406, inequivalent('durable', plain, flag)],
    [plain, { autoDelete: true }, 406, inequivalent('auto_delete', plain, flag)],
    [
      plain,
      { messageTtl: 60000 },
      406,
      inequivalent('x-message-ttl', plain, "received the value '60000' of type 'signedint' but current is none"),
    ],
    [
      limited,
      {},
      406,
      inequivalent('x-message-ttl', limited, "received none but current is the value '60000' of type 'signedint'"),
    ],
    [plain, { exclusive: true }, 405, locked.slice(0, 255)],
  ];
  for (const [queue, options, code, text] of cases) {
    const channel = await session.channel(connection);
    await channelError(channel, code, text, () => channel.assertQueue(queue, { durable: false, ...options }));
  }
  await owner.assertQueue(limited, { durable: false, messageTtl: 60000 });
};

exports.server_named_queue = async (session) => {
  const channel = await session.channel();
  const { queue } = await channel.assertQueue('', { exclusive: true });
  equal(queue.startsWith('amq.gen-'), true, `server-named queue is called ${queue}`);
  const other = await channel.assertQueue('', { exclusive: true });
  equal(other.queue === queue, false, 'two server-named queues have one name');
  await channel.checkQueue(queue);
  await channel.bindQueue('', 'amq.direct', session.name('key'));
  channel.publish('amq.direct', session.name('key'), Buffer.from('to the last declared'));
  equal(await drain(channel, queue), ['to the last declared'], 'messages');
};

exports.queue_purge_and_delete = async (session) => {
  const channel = await session.channel();
  const queue = await session.queue(channel);
  send(channel, queue, 'a', 'b', 'c');
  equal(await channel.purgeQueue(queue), { messageCount: 3 }, 'purged');
  equal(await drain(channel, queue), [], 'messages after the purge');
  send(channel, queue, 'd', 'e');
  equal(await channel.deleteQueue(queue), { messageCount: 2 }, 'messages deleted with the queue');
  equal(await channel.deleteQueue(queue), { messageCount: 0 }, 'messages deleted with no queue');
  await channel.deleteExchange(session.name('never declared'));
};

exports.exclusive_queue = async (session) => {
  const connection = await session.connect();
  const queue = await session.queue(await session.channel(connection));
  await connection.close();
  const channel = await session.channel();
  await channelError(channel, 404, `NOT_FOUND - no queue '${queue}' in vhost '/'`, () => channel.checkQueue(queue));
};

exports.auto_delete_queue = async (session) => {
  const connection = await session.connect();
  const channel = await session.channel(connection);
  const queue = await session.sharedQueue(channel, 'queue', { autoDelete: true });
  send(channel, queue, 'without a consumer');
  const [first, last] = [await Inbox.open(channel, queue), await Inbox.open(channel, queue)];
  await channel.cancel(first.tag);
  equal((await channel.checkQueue(queue)).consumerCount, 1, 'consumers');
  await channel.cancel(last.tag);
  await eventually(async () => !(await exists(connection, queue)), 'the queue is gone');
};

async function exists(connection, queue) {
  const channel = await connection.createChannel();
  channel.on('error', () => {});
  return channel.checkQueue(queue).then(
    () => true,
    () => false,
  );
}

exports.long_and_unicode_names = async (session) => {
  const channel = await session.channel();
  const longName = session.name('long').padEnd(255, 'x');
  equal((await channel.assertQueue(longName, { exclusive: true })).queue, longName, 'long name');
  send(channel, longName, 'long');
  equal(await drain(channel, longName), ['long'], 'messages of the long name');

  const queue = session.name('зайчонок-野兎-🐇');
  equal((await channel.assertQueue(queue, { exclusive: true })).queue, queue, 'name outside ASCII');
  const exchange = await session.exchange(channel, 'topic', 'größe');
  await channel.bindQueue(queue, exchange, 'straße.*');
  channel.publish(exchange, 'straße.жук', Buffer.from('unicode'));
  const message = await channel.get(queue, { noAck: true });
  const { fields } = message;
  equal([fields.exchange, fields.routingKey, body(message)], [exchange, 'straße.жук', 'unicode'], 'message');
};
