'use strict';

const { Inbox, body, drain, equal, publish } = require('../harness');

/** A queue whose dead letters go to the queue of this name. */
function dyingQueue(stage, session, dead, label = 'queue', args = {}) {
  const target = { 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': dead };
  return stage.queue(session, label, { arguments: { ...target, ...args } });
}

/** The entries of x-death without their times, which are seconds and lie in the scenario. */
function deaths(message) {
  return message.properties.headers['x-death'].map(({ time, ...death }) => {
    equal(time instanceof Date, true, `time ${time} is a timestamp`);
    equal(Math.abs(Date.now() - time) < 60_000, true, `time ${time} is now`);
    return death;
  });
}

function firstDeath(message) {
  return ['reason', 'queue', 'exchange'].map((part) => message.properties.headers[`x-first-death-${part}`]);
}

exports.dead_letter_rejected = async (stage) => {
  const session = await stage.session();
  const letters = await stage.exchange(session, 'direct', 'letters');
  const dead = await stage.queue(session, 'dead');
  await dead.bind(letters, 'buried');
  const queue = await stage.queue(session, 'queue', {
    arguments: { 'x-dead-letter-exchange': letters.name, 'x-dead-letter-routing-key': 'buried' },
  });
  const exchange = await stage.exchange(session, 'topic');
  await queue.bind(exchange, 'orders.#');
  await exchange.publish('order', { routingKey: 'orders.new', messageId: 'order-1', headers: { kept: 1 } });
  const inbox = await Inbox.subscribe(queue);
  await (await inbox.wait(1))[0].reject();

  const letter = await dead.consumeOne();
  const { properties } = letter;
  equal([letter.exchange, letter.routingKey, letter.redelivered], [letters.name, 'buried', false], 'delivery');
  equal([body(letter), properties.messageId, properties.headers.kept], ['order', 'order-1', 1], 'message');
  const death = { count: 1, reason: 'rejected', queue: queue.name, exchange: exchange.name };
  equal(deaths(letter), [{ ...death, 'routing-keys': ['orders.new'] }], 'x-death');
  equal(firstDeath(letter), ['rejected', queue.name, exchange.name], 'x-first-death');
  equal(inbox.messages.length, 1, 'deliveries of the rejected message');
};

exports.dead_letter_expired = async (stage) => {
  const session = await stage.session();
  const dead = await stage.queue(session, 'dead');
  const queue = await dyingQueue(stage, session, dead.name);
  const { name } = queue;
  await queue.publish('brief', { expiration: '100' });
  const letter = await dead.consumeOne();
  equal([body(letter), letter.properties.expiration], ['brief', undefined], 'message without its expiration');
  const death = { count: 1, reason: 'expired', queue: name, exchange: '', 'routing-keys': [name] };
  equal(deaths(letter), [{ ...death, 'original-expiration': '100' }], 'x-death');
  equal(firstDeath(letter), ['expired', name, ''], 'x-first-death');
};

exports.dead_letter_maxlen = async (stage) => {
  const session = await stage.session();
  const dead = await stage.queue(session, 'dead');
  const queue = await dyingQueue(stage, session, dead.name, 'queue', { 'x-max-length': 2 });
  await publish(queue, '1', '2', '3', '4');
  const letters = await (await Inbox.subscribe(dead)).wait(2);
  equal(letters.map(body), ['1', '2'], 'the oldest messages');
  for (const letter of letters) {
    const death = { count: 1, reason: 'maxlen', queue: queue.name, exchange: '', 'routing-keys': [queue.name] };
    equal(deaths(letter), [death], 'x-death');
    equal(firstDeath(letter), ['maxlen', queue.name, ''], 'x-first-death');
  }
  equal(await drain(queue), ['3', '4'], 'messages left');
};

exports.dead_letter_retry = async (stage) => {
  const session = await stage.session();
  const work = await dyingQueue(stage, session, stage.name('retry'), 'work');
  const retry = await dyingQueue(stage, session, work.name, 'retry', { 'x-message-ttl': 50 });
  await work.publish('job');
  let attempts = 0;
  const message = await new Promise((resolve) => {
    // The client rejects what its handler throws at.
    work.subscribe({ requeueOnNack: false }, (delivery) => {
      if (++attempts <= 3) throw new Error(`attempt ${attempts} fails`);
      resolve(delivery);
    });
  });
  const death = (reason, { name }) => ({ count: 3, reason, queue: name, exchange: '', 'routing-keys': [name] });
  equal([body(message), message.redelivered], ['job', false], 'message');
  equal(deaths(message), [death('expired', retry), death('rejected', work)], 'x-death');
  equal(firstDeath(message), ['rejected', work.name, ''], 'x-first-death');
};
