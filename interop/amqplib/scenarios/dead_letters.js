'use strict';

const { Inbox, body, drain, equal, send } = require('../harness');

/** A queue whose dead letters go to the queue `dead`. */
function dyingQueue(session, channel, dead, label = 'queue', options = {}) {
  return session.queue(channel, label, { deadLetterExchange: '', deadLetterRoutingKey: dead, ...options });
}

/** The entries of x-death without their times, which are seconds and lie in the scenario. */
function deaths(message) {
  return message.properties.headers['x-death'].map(({ time, ...death }) => {
    equal(time['!'], 'timestamp', 'type of the time');
    equal(Math.abs(Date.now() / 1000 - time.value) < 60, true, `time ${time.value} is now`);
    return death;
  });
}

function firstDeath(message) {
  return ['reason', 'queue', 'exchange'].map((part) => message.properties.headers[`x-first-death-${part}`]);
}

exports.dead_letter_rejected = async (session) => {
  const channel = await session.channel();
  const letters = await session.exchange(channel, 'direct', 'letters');
  const dead = await session.queue(channel, 'dead');
  await channel.bindQueue(dead, letters, 'buried');
  const queue = await session.queue(channel, 'queue', { deadLetterExchange: letters, deadLetterRoutingKey: 'buried' });
  const exchange = await session.exchange(channel, 'topic');
  await channel.bindQueue(queue, exchange, 'orders.#');
  const given = { messageId: 'order-1', headers: { kept: 1 } };
  channel.publish(exchange, 'orders.new', Buffer.from('order'), given);
  const inbox = await Inbox.open(channel, queue);
  channel.reject((await inbox.wait(1))[0], false);

  const [letter] = await (await Inbox.open(channel, dead)).wait(1);
  const { fields, properties } = letter;
  equal([fields.exchange, fields.routingKey, fields.redelivered], [letters, 'buried', false], 'delivery');
  equal([body(letter), properties.messageId, properties.headers.kept], ['order', 'order-1', 1], 'message');
  const death = { count: 1, reason: 'rejected', queue, exchange, 'routing-keys': ['orders.new'] };
  equal(deaths(letter), [death], 'x-death');
  equal(firstDeath(letter), ['rejected', queue, exchange], 'x-first-death');
  equal(inbox.messages.length, 1, 'deliveries of the rejected message');
};

exports.dead_letter_expired = async (session) => {
  const channel = await session.channel();
  const dead = await session.queue(channel, 'dead');
  const queue = await dyingQueue(session, channel, dead);
  channel.sendToQueue(queue, Buffer.from('brief'), { expiration: 100 });
  const [letter] = await (await Inbox.open(channel, dead)).wait(1);
  equal([body(letter), letter.properties.expiration], ['brief', undefined], 'message without its expiration');
  const death = { count: 1, reason: 'expired', queue, exchange: '', 'routing-keys': [queue] };
  equal(deaths(letter), [{ ...death, 'original-expiration': '100' }], 'x-death');
  equal(firstDeath(letter), ['expired', queue, ''], 'x-first-death');
};

exports.dead_letter_maxlen = async (session) => {
  const channel = await session.channel();
  const dead = await session.queue(channel, 'dead');
  const queue = await dyingQueue(session, channel, dead, 'queue', { maxLength: 2 });
  send(channel, queue, '1', '2', '3', '4');
  const letters = await (await Inbox.open(channel, dead)).wait(2);
  equal(letters.map(body), ['1', '2'], 'the oldest messages');
  for (const letter of letters) {
    const death = { count: 1, reason: 'maxlen', queue, exchange: '', 'routing-keys': [queue] };
    equal(deaths(letter), [death], 'x-death');
    equal(firstDeath(letter), ['maxlen', queue, ''], 'x-first-death');
  }
  equal(await drain(channel, queue), ['3', '4'], 'messages left');
};

exports.dead_letter_retry = async (session) => {
  const channel = await session.channel();
  const work = await dyingQueue(session, channel, session.name('retry'), 'work');
  const retry = await dyingQueue(session, channel, work, 'retry', { messageTtl: 50 });
  send(channel, work, 'job');
  const inbox = await Inbox.open(channel, work);
  for (let attempt = 1; attempt <= 3; attempt++) channel.reject((await inbox.wait(attempt)).at(-1), false);
  const message = (await inbox.wait(4)).at(-1);
  const death = (reason, queue) => ({ count: 3, reason, queue, exchange: '', 'routing-keys': [queue] });
  equal(body(message), 'job', 'message');
  equal(deaths(message), [death('expired', retry), death('rejected', work)], 'x-death');
  equal(firstDeath(message), ['rejected', work, ''], 'x-first-death');
};
