'use strict';

const {
  Inbox,
  awaitReady,
  body,
  channelError,
  counts,
  drain,
  drainFrom,
  equal,
  eventually,
  numerals,
  publish,
  refused,
  send,
} = require('../harness');

exports.queue_declare = async (stage) => {
  const channel = await stage.channel();
  const name = stage.name('queue');
  for (let n = 0; n < 2; n++) {
    const declared = await channel.queueDeclare(name, { exclusive: true });
    equal(declared, { name, messageCount: 0, consumerCount: 0 }, 'declare-ok');
  }
  await send(channel, name, 'a', 'b', 'c');
  await awaitReady(channel, name, 3);
  equal(await counts(channel, name), { name, messageCount: 3, consumerCount: 0 }, 'passive declare-ok');
  const inbox = await Inbox.open(channel, name);
  await inbox.wait(3);
  const declared = await channel.queueDeclare(name, { exclusive: true });
  equal(declared, { name, messageCount: 0, consumerCount: 1 }, 'ready messages and consumers');
};

exports.queue_mismatch = async (stage) => {
  const connection = await stage.connect();
  const owner = await connection.channel();
  const plain = await stage.declareShared(owner, 'plain');
  const limited = await stage.declareShared(owner, 'limited', { 'x-message-ttl': 60000 });
  const inequivalent = (argument, queue, difference) =>
    `PRECONDITION_FAILED - inequivalent arg '${argument}' for queue '${queue}' in vhost '/': ${difference}`;
  const locked =
    `RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '${plain}' in vhost '/'. It could be ` +
    'originally declared on another connection or the exclusive property value does not match that of the ' +
    'original declaration.';
  const flag = "received 'true' but current is 'false'";
  const ttl = "the value '60000' of type 'signedint'";
  for (const [queue, options, args, code, text] of [
    [plain, { durable: true }, {}, 406, inequivalent('durable', plain, flag)],
    [plain, { autoDelete: true }, {}, 406, inequivalent('auto_delete', plain, flag)],
    [
      plain,
      {},
      { 'x-message-ttl': 60000 },
      406,
      inequivalent('x-message-ttl', plain, `received ${ttl} but current is none`),
    ],
    [limited, {}, {}, 406, inequivalent('x-message-ttl', limited, `received none but current is ${ttl}`)],
    [plain, { exclusive: true }, {}, 405, locked.slice(0, 255)],
  ]) {
    const channel = await connection.channel();
    await channelError(channel, code, text, () => channel.queueDeclare(queue, { durable: false, ...options }, args));
  }
  await owner.queueDeclare(limited, { durable: false }, { 'x-message-ttl': 60000 });
};

exports.server_named_queue = async (stage) => {
  const channel = await stage.channel();
  const { name } = await channel.queueDeclare('');
  equal(name.startsWith('amq.gen-'), true, `server-named queue is called ${name}`);
  const last = await channel.queueDeclare('');
  equal(last.name === name, false, 'two server-named queues have one name');
  await channel.queueBind('', 'amq.direct', stage.name('key'));
  await channel.basicPublish('amq.direct', stage.name('key'), 'to the last declared');
  equal(await drainFrom(channel, last.name), ['to the last declared'], 'messages');
  equal(await drainFrom(channel, name), [], 'messages of the first');
};

exports.queue_purge_and_delete = async (stage) => {
  const session = await stage.session();
  const queue = await stage.queue(session);
  await publish(queue, 'a', 'b', 'c');
  equal(await queue.purge(), { messageCount: 3 }, 'purged');
  equal(await drain(queue), [], 'messages after the purge');
  await publish(queue, 'd', 'e');
  equal(await queue.delete(), { messageCount: 2 }, 'messages deleted with the queue');
  equal(await queue.delete(), { messageCount: 0 }, 'messages deleted with no queue');
  const exchange = await session.exchange(stage.name('exchange'), 'direct');
  for (let n = 0; n < 2; n++) await exchange.delete();
};

exports.exclusive_queue = async (stage) => {
  const session = await stage.session();
  const { name } = await stage.queue(session);
  await session.stop();
  const channel = await stage.channel();
  await channelError(channel, 404, `NOT_FOUND - no queue '${name}' in vhost '/'`, () => counts(channel, name));
};

exports.auto_delete_queue = async (stage) => {
  const [session, connection] = [await stage.session(), await stage.connect()];
  const queue = await stage.sharedQueue(session, 'queue', { autoDelete: true });
  await queue.publish('without a consumer');
  const [first, last] = [await queue.subscribe(), await queue.subscribe()];
  await first.cancel();
  equal((await counts(await connection.channel(), queue.name)).consumerCount, 1, 'consumers');
  await last.cancel();
  await eventually(async () => !(await exists(connection, queue.name)), 'the queue is gone');
};

async function exists(connection, queue) {
  const channel = await connection.channel();
  channel.onerror = () => {};
  return counts(channel, queue).then(
    () => true,
    () => false,
  );
}

exports.message_ttl = async (stage) => {
  const [session, channel] = [await stage.session(), await stage.channel()];
  const brief = await stage.sharedQueue(session, 'brief', { arguments: { 'x-message-ttl': 150 } });
  const lasting = await stage.sharedQueue(session, 'lasting', { arguments: { 'x-message-ttl': 60000 } });
  const started = performance.now();
  const isOver = () => performance.now() - started >= 150;
  await Promise.all(
    [
      [brief, undefined],
      [brief, '60000'],
      [lasting, '150'],
      [lasting, '60000'],
      [lasting, undefined],
    ].map(([queue, expiration]) => queue.publish(`expiration ${expiration}`, { expiration })),
  );
  await awaitReady(channel, lasting.name, 2);
  equal(isOver(), true, "the message's expiration has passed");
  await awaitReady(channel, brief.name, 0);
  equal(isOver(), true, "the queue's TTL has passed");
  equal(await drain(lasting), ['expiration 60000', 'expiration undefined'], 'younger messages');
  for (const [expiration, problem] of [
    ['soon', 'no_integer'],
    ['10s', '{leftover_string,"s"}'],
  ]) {
    const text = `PRECONDITION_FAILED - invalid expiration '${expiration}': ${problem}`;
    await refused(lasting.publish('', { expiration }), 406, text);
  }
};

exports.queue_expires = async (stage) => {
  const returned = [];
  const session = await stage.session({ onreturn: (message) => returned.push(message.routingKey) });
  // A passive declare would count as use of the queue, so a mandatory message asks whether it is there.
  const isGone = async (queue) => {
    await queue.publish('', { mandatory: true });
    return returned.includes(queue.name);
  };
  const options = { arguments: { 'x-expires': 200 } };
  const consumed = await stage.queue(session, 'consumed', options);
  const inbox = await Inbox.subscribe(consumed, { noAck: true });
  const started = performance.now();
  const unused = await stage.queue(session, 'unused', options);
  await eventually(() => isGone(unused), 'the unused queue is gone');
  equal(performance.now() - started >= 200, true, 'its time has passed');
  await consumed.publish('still here');
  equal(await inbox.bodies(1), ['still here'], 'messages of the queue with a consumer');
  await inbox.subscription.cancel();
  await eventually(() => isGone(consumed), 'the queue without its consumer is gone');
};

exports.max_length = async (stage) => {
  const session = await stage.session();
  const byCount = await stage.queue(session, 'count', { arguments: { 'x-max-length': 3 } });
  await publish(byCount, '1', '2', '3', '4', '5');
  equal(await drain(byCount), ['3', '4', '5'], 'the last three messages');
  const byBytes = await stage.queue(session, 'bytes', { arguments: { 'x-max-length-bytes': 10 } });
  await publish(byBytes, 'aaaa', 'bbbb', 'cccccc', 'dddd');
  equal(await drain(byBytes), ['cccccc', 'dddd'], 'the last ten bytes');
};

exports.priority_queue = async (stage) => {
  const session = await stage.session();
  const queue = await stage.queue(session, 'queue', { arguments: { 'x-max-priority': 10 } });
  // The client sends no priority 0, which is the same as none.
  for (const [n, priority] of [undefined, 5, 0, 10, 255, 1, 5, 11, 9, undefined].entries()) {
    await queue.publish(`${n} of ${priority}`, { priority });
  }
  equal(
    await drain(queue),
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

exports.single_active_consumer = async (stage) => {
  const [active, other] = [await stage.session(), await stage.session()];
  const options = { arguments: { 'x-single-active-consumer': true } };
  const queue = await stage.sharedQueue(active, 'queue', options);
  const first = await Inbox.subscribe(queue, { manualAck: true });
  const same = await stage.sharedQueue(other, 'queue', options);
  const [second, third] = [await Inbox.subscribe(same), await Inbox.subscribe(same)];
  await publish(same, ...numerals(5));
  const messages = await first.wait(5);
  equal(messages.map(body), numerals(5), 'messages of the first consumer');
  await messages[3].ack(true);
  await active.stop();
  await same.publish('5');
  equal(await second.bodies(2), ['4', '5'], 'messages of the next consumer');
  equal(second.redelivered(), [true, false], 'redelivered');
  await Promise.all(second.messages.map((message) => message.ack()));
  await second.subscription.cancel();
  await same.publish('6');
  equal(await third.bodies(1), ['6'], 'messages of the last consumer');
  equal([first.messages.length, second.messages.length], [5, 2], 'messages of the others');
};

exports.quorum_queue = async (stage) => {
  const session = await stage.session();
  const dead = await stage.queue(session, 'dead');
  const queue = await stage.sharedQueue(session, 'queue', {
    durable: true,
    arguments: {
      'x-queue-type': 'quorum',
      'x-delivery-limit': 2,
      'x-dead-letter-exchange': '',
      'x-dead-letter-routing-key': dead.name,
    },
  });
  await queue.publish('poison');
  const deliveries = [];
  // The client requeues what its handler throws at.
  const subscription = await queue.subscribe((message) => {
    deliveries.push([message.properties.headers?.['x-delivery-count'], message.redelivered]);
    throw new Error('poisoned');
  });
  const letter = await dead.consumeOne();
  await subscription.cancel();
  equal(
    deliveries,
    [
      [undefined, false],
      [1, true],
      [2, true],
    ],
    'x-delivery-count and redelivered of the deliveries',
  );
  const [death] = letter.properties.headers['x-death'];
  equal([body(letter), death.reason, death.queue], ['poison', 'delivery_limit', queue.name], 'dead letter');
};

exports.long_and_unicode_names = async (stage) => {
  const session = await stage.session();
  const long = await session.queue(stage.name('long').padEnd(255, 'x'), { exclusive: true });
  await long.publish('long');
  equal(body(await long.get()), 'long', 'message of the long name');

  const queue = await stage.queue(session, 'зайчонок-野兎-🐇');
  equal(queue.name, stage.name('зайчонок-野兎-🐇'), 'name outside ASCII');
  const exchange = await stage.exchange(session, 'topic', 'größe');
  await queue.bind(exchange, 'straße.*');
  await exchange.publish('unicode', { routingKey: 'straße.жук' });
  const message = await queue.get();
  const { routingKey } = message;
  equal([message.exchange, routingKey, body(message)], [exchange.name, 'straße.жук', 'unicode'], 'message');
};
