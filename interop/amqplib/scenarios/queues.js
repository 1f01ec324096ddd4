'use strict';

const { Inbox, awaitReady, body, channelError, drain, equal, eventually, numerals, send } = require('../harness');

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

exports.message_ttl = async (session) => {
  const connection = await session.connect();
  const channel = await session.confirmChannel(connection);
  const brief = await session.queue(channel, 'brief', { messageTtl: 150 });
  const lasting = await session.queue(channel, 'lasting', { messageTtl: 60000 });
  const started = performance.now();
  const isOver = () => performance.now() - started >= 150;
  for (const [queue, expiration] of [
    [brief, undefined],
    [brief, 60000],
    [lasting, 150],
    [lasting, 60000],
    [lasting, undefined],
  ]) {
    channel.sendToQueue(queue, Buffer.from(`expiration ${expiration}`), { expiration });
  }
  await channel.waitForConfirms();
  await awaitReady(channel, lasting, 2);
  equal(isOver(), true, "the message's expiration has passed");
  await awaitReady(channel, brief, 0);
  equal(isOver(), true, "the queue's TTL has passed");
  equal(await drain(channel, lasting), ['expiration 60000', 'expiration undefined'], 'younger messages');
  for (const [expiration, problem] of [
    ['soon', 'no_integer'],
    ['10s', '{leftover_string,"s"}'],
  ]) {
    const wrong = await session.channel(connection);
    const text = `PRECONDITION_FAILED - invalid expiration '${expiration}': ${problem}`;
    await channelError(wrong, 406, text, () => wrong.sendToQueue(lasting, Buffer.alloc(0), { expiration }));
  }
};

/** A passive declare would count as use of the queue, so a mandatory message asks whether it is there. */
function isReached(channel, queue) {
  let reached = true;
  const onReturn = () => {
    reached = false;
  };
  channel.once('return', onReturn);
  return new Promise((resolve) => {
    channel.sendToQueue(queue, Buffer.alloc(0), { mandatory: true }, () => {
      channel.off('return', onReturn);
      resolve(reached);
    });
  });
}

exports.queue_expires = async (session) => {
  const connection = await session.connect();
  const channel = await session.confirmChannel(connection);
  const consumed = await session.queue(channel, 'consumed', { expires: 200 });
  const inbox = await Inbox.open(channel, consumed, { noAck: true });
  const started = performance.now();
  const unused = await session.queue(channel, 'unused', { expires: 200 });
  await eventually(async () => !(await isReached(channel, unused)), 'the unused queue is gone');
  equal(performance.now() - started >= 200, true, 'its time has passed');
  send(channel, consumed, 'still here');
  equal(await inbox.bodies(1), ['still here'], 'messages of the queue with a consumer');
  await channel.cancel(inbox.tag);
  await eventually(async () => !(await isReached(channel, consumed)), 'the queue without its consumer is gone');
};

exports.max_length = async (session) => {
  const channel = await session.channel();
  const byCount = await session.queue(channel, 'count', { maxLength: 3 });
  send(channel, byCount, '1', '2', '3', '4', '5');
  equal(await drain(channel, byCount), ['3', '4', '5'], 'the last three messages');
  const byBytes = await session.queue(channel, 'bytes', { arguments: { 'x-max-length-bytes': 10 } });
  send(channel, byBytes, 'aaaa', 'bbbb', 'cccccc', 'dddd');
  equal(await drain(channel, byBytes), ['cccccc', 'dddd'], 'the last ten bytes');
};

exports.priority_queue = async (session) => {
  const channel = await session.channel();
  const queue = await session.queue(channel, 'queue', { maxPriority: 10 });
  for (const [n, priority] of [undefined, 5, 0, 10, 255, 1, 5, 11, 9, undefined].entries()) {
    channel.sendToQueue(queue, Buffer.from(`${n} of ${priority}`), { priority });
  }
  equal(
    await drain(channel, queue),
    [
      '3 of 10',
      '4 of 255',
      '7 of 11',
      '8 of 9',
      '1 of 5',
      '6 of 5',
      '5 of 1',
      '0 of undefined',
      '2 of 0',
      '9 of undefined',
    ],
    'messages by priority',
  );
};

exports.single_active_consumer = async (session) => {
  const publisher = await session.channel();
  const queue = await session.sharedQueue(publisher, 'queue', { arguments: { 'x-single-active-consumer': true } });
  const [active, other] = [await session.channel(), await session.channel()];
  const first = await Inbox.open(active, queue);
  const [second, third] = [await Inbox.open(other, queue), await Inbox.open(other, queue)];
  send(publisher, queue, ...numerals(5));
  const messages = await first.wait(5);
  equal(messages.map(body), numerals(5), 'messages of the first consumer');
  active.ack(messages[3], true);
  await active.close();
  send(publisher, queue, '5');
  equal(await second.bodies(2), ['4', '5'], 'messages of the next consumer');
  equal(second.redelivered(), [true, false], 'redelivered');
  await other.cancel(second.tag);
  send(publisher, queue, '6');
  equal(await third.bodies(1), ['6'], 'messages of the last consumer');
  equal([first.messages.length, second.messages.length], [5, 2], 'messages of the others');
};

exports.quorum_queue = async (session) => {
  const channel = await session.channel();
  const dead = await session.queue(channel, 'dead');
  const queue = await session.sharedQueue(channel, 'queue', {
    durable: true,
    deadLetterExchange: '',
    deadLetterRoutingKey: dead,
    arguments: { 'x-queue-type': 'quorum', 'x-delivery-limit': 2 },
  });
  const inbox = await Inbox.open(channel, queue);
  send(channel, queue, 'poison');
  for (let n = 1; n <= 3; n++) channel.nack((await inbox.wait(n)).at(-1));
  const [letter] = await (await Inbox.open(channel, dead)).wait(1);
  const counts = inbox.messages.map((message) => message.properties.headers['x-delivery-count']);
  equal(counts, [undefined, 1, 2], 'x-delivery-count of the deliveries');
  equal(inbox.redelivered(), [false, true, true], 'redelivered');
  const [death] = letter.properties.headers['x-death'];
  equal([body(letter), death.reason, death.queue], ['poison', 'delivery_limit', queue], 'dead letter');
};

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
