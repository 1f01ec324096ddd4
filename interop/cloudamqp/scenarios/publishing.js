'use strict';

const { setTimeout: delay } = require('node:timers/promises');
const {
  Inbox,
  awaitReady,
  body,
  drain,
  equal,
  eventually,
  numbers,
  numerals,
  refusalOf,
  refused,
  take,
} = require('../harness');

exports.publisher_confirms = async (stage) => {
  const channel = await stage.channel();
  const queue = await stage.declareShared(channel);
  await channel.confirmSelect();
  const publish = (n) => channel.basicPublish('', queue, String(n), { deliveryMode: 1 + (n % 2) });
  const confirmed = [];
  for (const n of numbers(100)) confirmed.push(await publish(n));
  await awaitReady(channel, queue, 100);
  confirmed.push(...(await Promise.all(numbers(900).map(publish))));
  equal(confirmed, numbers(1000).map((n) => n + 1), 'numbers of the confirmed messages');
  await awaitReady(channel, queue, 1000);
};

exports.confirm_unroutable = async (stage) => {
  const session = await stage.session();
  for (const exchange of [await session.directExchange(''), await session.fanoutExchange()]) {
    await exchange.publish('nowhere to go', { routingKey: stage.name('nobody') });
  }
};

exports.mandatory_return = async (stage) => {
  const returned = [];
  const session = await stage.session({ onreturn: (message) => returned.push(message) });
  const [queue, exchange] = [await stage.queue(session), await session.directExchange()];
  await queue.publish('routed', { mandatory: true });
  const routingKey = stage.name('nobody');
  await exchange.publish('not mandatory', { routingKey });
  await exchange.publish('lost', { routingKey, mandatory: true, messageId: 'lost', headers: { kept: 1 } });
  equal(await drain(queue), ['routed'], 'routed');
  equal(returned.map(body), ['lost'], 'returned messages');
  const [{ replyCode, replyText, properties, ...message }] = returned;
  equal([replyCode, replyText], [312, 'NO_ROUTE'], 'return');
  equal([message.exchange, message.routingKey], ['amq.direct', routingKey], 'exchange and key');
  equal([properties.messageId, properties.headers], ['lost', { kept: 1 }], 'properties');
};

exports.return_before_confirm = async (stage) => {
  const events = [];
  const session = await stage.session({ onreturn: (message) => events.push(`returned ${body(message)}`) });
  const [queue, exchange] = [await stage.queue(session), await session.directExchange()];
  const publishBoth = async (text) => {
    const lost = exchange.publish(text, { routingKey: stage.name('nobody'), mandatory: true });
    await Promise.all([
      lost.then(() => events.push(`confirmed ${text}`)),
      queue.publish(text, { mandatory: true }),
    ]);
  };
  await Promise.all(numerals(20).map(publishBoth));
  for (const text of numerals(20)) {
    const [returned, confirmed] = [events.indexOf(`returned ${text}`), events.indexOf(`confirmed ${text}`)];
    equal(returned >= 0 && returned < confirmed, true, `message ${text} was returned before its confirm`);
  }
  equal(events.length, 40, 'returns and confirms');
  equal((await take(queue)).length, 20, 'routed messages');
};

exports.nacked_publish = async (stage) => {
  const session = await stage.session();
  const options = { arguments: { 'x-max-length': 3, 'x-overflow': 'reject-publish' } };
  const queue = await stage.queue(session, 'queue', options);
  // One at a time: RabbitMQ 3.10 forgets some nacks of messages that it refuses at the same time.
  const outcomes = [];
  for (const text of numerals(6)) outcomes.push(await refusalOf(queue.publish(text)));
  const nacked = 'Message rejected';
  equal(outcomes, [undefined, undefined, undefined, nacked, nacked, nacked], 'confirms and nacks');
  equal(await drain(queue), ['0', '1', '2'], 'messages in the queue');
};

exports.connection_blocked = async (stage) => {
  const told = [];
  const session = await stage.session({
    onblocked: (reason) => told.push(reason),
    onunblocked: () => told.push('unblocked'),
  });
  const queue = await stage.sharedQueue(session);
  const inbox = await Inbox.subscribe(await stage.sharedQueue(await stage.session()), { noAck: true });
  const sent = [];
  const confirms = [];
  // The broker tells it only to those who publish.
  const isTold = () => {
    if (told.length === 0) {
      sent.push(String(sent.length));
      confirms.push(queue.publish(sent.at(-1)));
    }
    return told.length > 0;
  };
  stage.ask('block');
  try {
    await eventually(isTold, 'the client is told that it is blocked', 20);
    equal(told, ['low on memory'], 'reason');
    const refusal = await refusalOf(queue.publish('refused'));
    equal(refusal, 'Connection blocked by server: low on memory', 'what the client says from then on');
    await delay(300);
    equal((await inbox.bodies()).includes(sent.at(-1)), false, 'arrived while the publisher was blocked');
  } finally {
    stage.ask('unblock');
  }
  await Promise.all(confirms);
  equal(await inbox.bodies(sent.length), sent, 'messages after that');
  await queue.publish('afterwards');
  equal((await inbox.bodies(sent.length + 1)).at(-1), 'afterwards', 'message once unblocked');
  equal(told, ['low on memory', 'unblocked'], 'what the client is told');
};

exports.user_id = async (stage) => {
  const session = await stage.session();
  const queue = await stage.queue(session);
  const user = new URL(stage.url).username;
  await queue.publish('anonymous');
  await queue.publish('signed', { userId: user });
  equal(await drain(queue), ['anonymous', 'signed'], 'messages');
  const refusal = `PRECONDITION_FAILED - user_id property set to 'somebody' but authenticated user was '${user}'`;
  await refused(queue.publish('forged', { userId: 'somebody' }), 406, refusal);
  equal(await drain(queue), [], 'forged messages');
};
