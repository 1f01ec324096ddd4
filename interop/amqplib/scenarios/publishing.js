'use strict';

const { once } = require('node:events');
const { setTimeout: delay } = require('node:timers/promises');
const { promisify } = require('node:util');
const { Inbox, awaitReady, body, channelError, drain, equal, eventually, numerals, send } = require('../harness');

exports.publisher_confirms = async (session) => {
  const channel = await session.confirmChannel();
  const queue = await session.sharedQueue(channel, 'queue', { durable: true });
  const sendAndAwait = promisify(channel.sendToQueue.bind(channel));
  for (let n = 0; n < 100; n++) {
    await sendAndAwait(queue, Buffer.from(String(n)), { persistent: n % 2 === 1 });
  }
  await awaitReady(channel, queue, 100);
  let confirmed = 0;
  for (let n = 100; n < 1000; n++) {
    channel.sendToQueue(queue, Buffer.from(String(n)), { persistent: n % 2 === 1 }, (refusal) => {
      if (refusal === null) confirmed++;
    });
  }
  await channel.waitForConfirms();
  equal(confirmed, 900, 'confirms');
  await awaitReady(channel, queue, 1000);
};

exports.confirm_unroutable = async (session) => {
  const channel = await session.confirmChannel();
  channel.sendToQueue(session.name('nobody'), Buffer.from('nowhere to go'));
  channel.publish('amq.fanout', session.name('nobody'), Buffer.from('nowhere to go'));
  await channel.waitForConfirms();
};

exports.mandatory_return = async (session) => {
  const channel = await session.channel();
  const queue = await session.queue(channel);
  const returned = [];
  channel.on('return', (message) => returned.push(message));
  channel.sendToQueue(queue, Buffer.from('routed'), { mandatory: true });
  channel.publish('amq.direct', session.name('nobody'), Buffer.from('not mandatory'));
  const lost = { mandatory: true, messageId: 'lost', headers: { kept: 1 } };
  channel.publish('amq.direct', session.name('nobody'), Buffer.from('lost'), lost);
  if (returned.length === 0) await once(channel, 'return');
  equal(await drain(channel, queue), ['routed'], 'routed');
  equal(returned.length, 1, 'returned messages');
  const [{ fields, properties }] = returned;
  equal(
    fields,
    { replyCode: 312, replyText: 'NO_ROUTE', exchange: 'amq.direct', routingKey: session.name('nobody') },
    'return',
  );
  equal(
    [properties.messageId, properties.headers, body(returned[0])],
    ['lost', { kept: 1 }, 'lost'],
    'message',
  );
};

exports.return_before_confirm = async (session) => {
  const channel = await session.confirmChannel();
  const queue = await session.queue(channel);
  const events = [];
  channel.on('return', (message) => events.push(`returned ${body(message)}`));
  for (let n = 0; n < 20; n++) {
    const number = Buffer.from(String(n));
    channel.sendToQueue(session.name('nobody'), number, { mandatory: true }, () => events.push(`confirmed ${n}`));
    channel.sendToQueue(queue, number, { mandatory: true });
  }
  await channel.waitForConfirms();
  for (let n = 0; n < 20; n++) {
    const [returned, confirmed] = [events.indexOf(`returned ${n}`), events.indexOf(`confirmed ${n}`)];
    equal(returned >= 0 && returned < confirmed, true, `message ${n} was returned before its confirm`);
  }
  equal(events.length, 40, 'returns and confirms');
  equal((await drain(channel, queue)).length, 20, 'routed messages');
};

exports.nacked_publish = async (session) => {
  const channel = await session.confirmChannel();
  const queue = await session.queue(channel, 'queue', { maxLength: 3, arguments: { 'x-overflow': 'reject-publish' } });
  const sendAndAwait = promisify(channel.sendToQueue.bind(channel));
  // One at a time: RabbitMQ 3.10 forgets some nacks of messages that it refuses at the same time.
  const outcomes = [];
  for (const text of numerals(6)) {
    const outcome = await sendAndAwait(queue, Buffer.from(text), {}).catch((refusal) => refusal.message);
    outcomes.push(outcome);
  }
  const nacked = 'message nacked';
  equal(outcomes, [undefined, undefined, undefined, nacked, nacked, nacked], 'confirms and nacks');
  equal(await drain(channel, queue), ['0', '1', '2'], 'messages in the queue');
};

exports.connection_blocked = async (session) => {
  const [connection, observer] = [await session.connect(), await session.channel()];
  const queue = await session.sharedQueue(observer);
  const inbox = await Inbox.open(observer, queue, { noAck: true });
  const publisher = await session.channel(connection);
  const told = [];
  connection.on('blocked', (reason) => told.push(reason));
  connection.on('unblocked', () => told.push('unblocked'));
  const sent = [];
  const publish = (text) => {
    send(publisher, queue, text);
    sent.push(text);
  };
  // The broker tells it only to those who publish.
  const isTold = () => {
    if (told.length === 0) publish('before');
    return told.length > 0;
  };
  session.ask('block');
  try {
    await eventually(isTold, 'the client is told that it is blocked', 20);
    equal(told, ['low on memory'], 'reason');
    publish('while blocked');
    await delay(300);
    equal((await inbox.bodies()).includes('while blocked'), false, 'arrived while the publisher was blocked');
  } finally {
    session.ask('unblock');
  }
  equal(await inbox.bodies(sent.length), sent, 'messages after that');
  publish('afterwards');
  equal(await inbox.bodies(sent.length), sent, 'messages once unblocked');
  equal(told, ['low on memory', 'unblocked'], 'what the client is told');
};

exports.user_id = async (session) => {
  const connection = await session.connect();
  const channel = await session.channel(connection);
  const queue = await session.queue(channel);
  const user = new URL(session.url).username;
  send(channel, queue, 'anonymous');
  channel.sendToQueue(queue, Buffer.from('signed'), { userId: user });
  equal(await drain(channel, queue), ['anonymous', 'signed'], 'messages');
  const forger = await session.channel(connection);
  const refusal = `PRECONDITION_FAILED - user_id property set to 'somebody' but authenticated user was '${user}'`;
  await channelError(forger, 406, refusal, () =>
    forger.sendToQueue(queue, Buffer.from('forged'), { userId: 'somebody' }),
  );
  equal(await drain(channel, queue), [], 'forged messages');
};
