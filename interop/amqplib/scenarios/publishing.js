'use strict';

const { once } = require('node:events');
const { promisify } = require('node:util');
const { awaitReady, body, channelError, drain, equal, send } = require('../harness');

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
