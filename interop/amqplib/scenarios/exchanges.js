'use strict';

const { Inbox, body, channelError, drain, equal, numbers, numerals, send } = require('../harness');

function publish(channel, exchange, key, text = key, options = {}) {
  channel.publish(exchange, key, Buffer.from(text), options);
}

exports.predeclared_exchanges = async (session) => {
  const channel = await session.channel();
  for (const [name, type] of [
    ['amq.direct', 'direct'],
    ['amq.fanout', 'fanout'],
    ['amq.topic', 'topic'],
    ['amq.headers', 'headers'],
    ['amq.match', 'headers'],
  ]) {
    await channel.checkExchange(name);
    await channel.assertExchange(name, type, { durable: true });
  }
};

exports.exchange_mismatch = async (session) => {
  const connection = await session.connect();
  const exchange = await session.exchange(await session.channel(connection), 'direct');
  const flag = "received 'true' but current is 'false'";
  const cases = [
    ['type', 'fanout', {}, "received 'fanout' but current is 'direct'"],
    ['durable', 'direct', { durable: true }, flag],
    ['auto_delete', 'direct', { autoDelete: true }, flag],
    ['internal', 'direct', { internal: true }, flag],
    [
      'alternate-exchange',
      'direct',
      { alternateExchange: 'amq.fanout' },
      "received the value 'amq.fanout' of type 'longstr' but current is none",
    ],
  ];
  for (const [argument, type, options, difference] of cases) {
    const channel = await session.channel(connection);
    const text = `inequivalent arg '${argument}' for exchange '${exchange}' in vhost '/': ${difference}`;
    await channelError(channel, 406, `PRECONDITION_FAILED - ${text}`, () =>
      channel.assertExchange(exchange, type, { durable: false, ...options }),
    );
  }
  await (await session.channel(connection)).assertExchange(exchange, 'direct', { durable: false });
};

exports.default_exchange = async (session) => {
  const channel = await session.channel();
  const [first, second] = [await session.queue(channel, 'first'), await session.queue(channel, 'second')];
  send(channel, first, 'to first');
  send(channel, second, 'to second');
  send(channel, session.name('nobody'), 'to nobody');
  equal(await drain(channel, first), ['to first'], 'first');
  equal(await drain(channel, second), ['to second'], 'second');
};

exports.direct_exchange = async (session) => {
  const channel = await session.channel();
  const exchange = await session.exchange(channel, 'direct');
  const errors = await session.queue(channel, 'errors');
  const everything = await session.queue(channel, 'everything');
  await channel.bindQueue(errors, exchange, 'error');
  for (const severity of ['info', 'warning', 'error', 'error']) {
    await channel.bindQueue(everything, exchange, severity);
  }
  for (const severity of ['info', 'warning', 'error', 'debug']) publish(channel, exchange, severity);
  equal(await drain(channel, errors), ['error'], 'errors');
  equal(await drain(channel, everything), ['info', 'warning', 'error'], 'everything');
};

exports.fanout_exchange = async (session) => {
  const channel = await session.channel();
  const exchange = await session.exchange(channel, 'fanout');
  const queues = [];
  for (let n = 0; n < 5; n++) {
    queues.push(await session.queue(channel, `queue-${n}`));
    await channel.bindQueue(queues[n], exchange, `ignored-${n}`);
  }
  publish(channel, exchange, '', 'one');
  publish(channel, exchange, 'any.key', 'two');
  for (const queue of queues) equal(await drain(channel, queue), ['one', 'two'], queue);
};

const TOPIC_CASES = {
  'a.b.c': ['a.b.c', 'a.*.c', '*.b.*', '*.*.*', '#', 'a.#', '#.c', 'a.#.c', 'a.#.#', '#.b.#'],
  'a.c': ['#', 'a.#', '#.c', 'a.#.c', 'a.#.#', '*.*'],
  a: ['#', 'a.#', '*', 'a.#.#'],
  '': ['#'],
  'a..c': ['a.*.c', '*.*.*', '#', 'a.#', '#.c', 'a.#.c', 'a.#.#', 'a..c'],
  b: ['#', '*', '#.b.#'],
};

exports.topic_exchange = async (session) => {
  const channel = await session.channel();
  const exchange = await session.exchange(channel, 'topic');
  const once = await session.queue(channel, 'one copy');
  const keys = Object.keys(TOPIC_CASES);
  const patterns = [...new Set(Object.values(TOPIC_CASES).flat())];
  for (const pattern of patterns) {
    await channel.bindQueue(await session.queue(channel, `[${pattern}]`), exchange, pattern);
    await channel.bindQueue(once, exchange, pattern);
  }
  for (const key of keys) publish(channel, exchange, key);
  for (const pattern of patterns) {
    const expected = keys.filter((key) => TOPIC_CASES[key].includes(pattern));
    equal(await drain(channel, session.name(`[${pattern}]`)), expected, `keys that ${pattern} matches`);
  }
  equal(await drain(channel, once), keys, 'one copy of each');
};

exports.headers_exchange = async (session) => {
  const channel = await session.channel();
  const exchange = await session.exchange(channel, 'headers');
  const wanted = { format: 'pdf', pages: 3, draft: false };
  const all = await session.queue(channel, 'all');
  const any = await session.queue(channel, 'any');
  const byDefault = await session.queue(channel, 'default');
  await channel.bindQueue(all, exchange, '', { 'x-match': 'all', ...wanted });
  await channel.bindQueue(any, exchange, '', { 'x-match': 'any', ...wanted });
  await channel.bindQueue(byDefault, exchange, '', wanted);
  const tiered = { format: 'pdf', 'x-tier': 'gold' };
  for (const match of ['all', 'all-with-x', 'any-with-x']) {
    const queue = await session.queue(channel, `tiered ${match}`);
    await channel.bindQueue(queue, exchange, '', { 'x-match': match, ...tiered });
  }
  for (const [label, headers] of [
    ['all', { ...wanted, extra: 'ignored' }],
    ['format only', { format: 'pdf', pages: 4 }],
    ['draft only', { draft: false }],
    ['none', { format: 'zip', pages: 4, draft: true }],
    ['no headers', undefined],
    ['tiered', tiered],
    ['tier only', { 'x-tier': 'gold' }],
  ]) {
    publish(channel, exchange, '', label, { headers });
  }
  equal(await drain(channel, all), ['all'], 'x-match all');
  equal(await drain(channel, any), ['all', 'format only', 'draft only', 'tiered'], 'x-match any');
  equal(await drain(channel, byDefault), ['all'], 'no x-match');
  for (const [match, expected] of [
    ['all', ['all', 'format only', 'tiered']],
    ['all-with-x', ['tiered']],
    ['any-with-x', ['all', 'format only', 'tiered', 'tier only']],
  ]) {
    const queue = session.name(`tiered ${match}`);
    equal(await drain(channel, queue), expected, `x-match ${match} with an x- header`);
  }
};

exports.exchange_to_exchange = async (session) => {
  const channel = await session.channel();
  const source = await session.exchange(channel, 'topic', 'source');
  const middle = await session.exchange(channel, 'fanout', 'middle');
  const queue = await session.queue(channel);
  await channel.bindExchange(middle, source, 'orders.#');
  await channel.bindExchange(source, middle, '');
  await channel.bindQueue(queue, middle, '');
  await channel.bindQueue(queue, source, '#');
  publish(channel, source, 'orders.new', 'both ways');
  publish(channel, source, 'other', 'directly');
  equal(await drain(channel, queue), ['both ways', 'directly'], 'messages, one copy each');
  await channel.unbindExchange(middle, source, 'orders.#');
  await channel.unbindQueue(queue, source, '#');
  publish(channel, source, 'orders.new', 'nowhere');
  equal(await drain(channel, queue), [], 'messages after unbind');
};

exports.alternate_exchange = async (session) => {
  const channel = await session.channel();
  const fallback = await session.exchange(channel, 'fanout', 'fallback');
  const exchange = await session.exchange(channel, 'direct', 'main', { alternateExchange: fallback });
  const [known, unknown] = [await session.queue(channel, 'known'), await session.queue(channel, 'unknown')];
  await channel.bindQueue(known, exchange, 'known');
  await channel.bindQueue(unknown, fallback, '');
  const returned = [];
  channel.on('return', (message) => returned.push(body(message)));
  publish(channel, exchange, 'known', 'matched', { mandatory: true });
  publish(channel, exchange, 'stray', 'not matched', { mandatory: true });
  equal(await drain(channel, known), ['matched'], 'matched');
  const message = await channel.get(unknown, { noAck: true });
  const { fields } = message;
  equal([fields.exchange, fields.routingKey, body(message)], [exchange, 'stray', 'not matched'], 'not matched');
  equal(returned, [], 'returned');
};

exports.internal_exchange = async (session) => {
  const connection = await session.connect();
  const channel = await session.channel(connection);
  const front = await session.exchange(channel, 'direct', 'front');
  const internal = await session.exchange(channel, 'fanout', 'internal', { internal: true });
  const queue = await session.queue(channel);
  await channel.bindExchange(internal, front, 'in');
  await channel.bindQueue(queue, internal, '');
  publish(channel, front, 'in', 'through the front');
  equal(await drain(channel, queue), ['through the front'], 'messages');
  const intruder = await session.channel(connection);
  const refusal = `ACCESS_REFUSED - cannot publish to internal exchange '${internal}' in vhost '/'`;
  await channelError(intruder, 403, refusal, () => publish(intruder, internal, '', 'directly'));
  equal(await drain(channel, queue), [], 'messages after the refused publish');
};

exports.auto_delete_exchange = async (session) => {
  const connection = await session.connect();
  const channel = await session.channel(connection);
  const exchange = await session.exchange(channel, 'fanout', 'exchange', { autoDelete: true });
  const queue = await session.queue(channel);
  for (const key of ['one', 'two']) await channel.bindQueue(queue, exchange, key);
  await channel.unbindQueue(queue, exchange, 'one');
  await channel.checkExchange(exchange);
  await channel.unbindQueue(queue, exchange, 'two');
  const observer = await session.channel(connection);
  await channelError(observer, 404, `NOT_FOUND - no exchange '${exchange}' in vhost '/'`, () =>
    observer.checkExchange(exchange),
  );
};

exports.unbind = async (session) => {
  const channel = await session.channel();
  const exchange = await session.exchange(channel, 'headers');
  const queue = await session.queue(channel);
  const [red, blue] = ['red', 'blue'].map((colour) => ({ 'x-match': 'all', colour }));
  await channel.bindQueue(queue, exchange, '', red);
  await channel.bindQueue(queue, exchange, '', blue);
  await channel.unbindQueue(queue, exchange, '', red);
  await channel.unbindQueue(queue, exchange, 'never bound', blue);
  for (const colour of ['red', 'blue']) publish(channel, exchange, '', colour, { headers: { colour } });
  equal(await drain(channel, queue), ['blue'], 'messages');
};

/** Consumers of as many queues as there are keys, each bound with its key. */
async function boundInboxes(session, channel, exchange, ...keys) {
  const inboxes = [];
  for (const [n, key] of keys.entries()) {
    const queue = await session.queue(channel, `${exchange}-${n}`);
    await channel.bindQueue(queue, exchange, key);
    inboxes.push(await Inbox.open(channel, queue, { noAck: true }));
  }
  return inboxes;
}

/** Publishes messages of a key and headers, and returns for each the place of the one inbox that it came to. */
async function spread(channel, exchange, inboxes, messages) {
  const before = inboxes.map((inbox) => inbox.messages.length);
  messages.forEach(({ key, headers }, n) => publish(channel, exchange, key, String(n), { headers }));
  const arrived = () => inboxes.flatMap((inbox, place) => inbox.messages.slice(before[place]));
  const enough = () => arrived().length >= messages.length;
  await Promise.race(inboxes.map((inbox) => inbox.until(enough)));
  const arrivals = arrived().map((message) => Number(body(message)));
  equal(arrivals.sort((a, b) => a - b), numbers(messages.length), 'messages that arrived');
  const places = [];
  for (const [place, inbox] of inboxes.entries()) {
    for (const message of inbox.messages.slice(before[place])) places[Number(body(message))] = place;
  }
  return places;
}

const shares = (places, count) => numbers(count).map((place) => places.filter((other) => other === place).length);

exports.consistent_hash_exchange = async (session) => {
  const channel = await session.channel();
  const byKey = await session.exchange(channel, 'x-consistent-hash', 'by-key');
  const weighted = await boundInboxes(session, channel, byKey, '1', '1', '4');
  const messages = numbers(1000).map((n) => ({ key: `key-${n}` }));
  const places = await spread(channel, byKey, weighted, messages);
  const [light, other, heavy] = shares(places, 3);
  equal(light > 0 && other > 0, true, `every queue got some of ${light}, ${other}, ${heavy}`);
  equal(heavy > light && heavy > other, true, `the weight 4 got most of ${light}, ${other}, ${heavy}`);
  equal(await spread(channel, byKey, weighted, messages), places, 'places of the same keys again');

  const options = { arguments: { 'hash-header': 'customer' } };
  const byHeader = await session.exchange(channel, 'x-consistent-hash', 'by-header', options);
  const equals = await boundInboxes(session, channel, byHeader, '1', '1', '1');
  const orders = numbers(400).map((n) => ({ key: `key-${n}`, headers: { customer: String(n % 100) } }));
  const placesOfOrders = await spread(channel, byHeader, equals, orders);
  equal(shares(placesOfOrders, 3).includes(0), false, 'a queue got nothing by header');
  equal(placesOfOrders, orders.map((_, n) => placesOfOrders[n % 100]), 'places of the same headers');
};

exports.modulus_hash_exchange = async (session) => {
  const channel = await session.channel();
  const exchange = await session.exchange(channel, 'x-modulus-hash');
  const inboxes = await boundInboxes(session, channel, exchange, '', '', '');
  const messages = numbers(200).map((n) => ({ key: `key-${n}` }));
  const places = await spread(channel, exchange, inboxes, messages);
  equal(shares(places, 3).includes(0), false, 'a queue got nothing');
  equal(await spread(channel, exchange, inboxes, messages), places, 'places of the same keys again');
};

exports.random_exchange = async (session) => {
  const channel = await session.channel();
  const exchange = await session.exchange(channel, 'x-random');
  const inboxes = await boundInboxes(session, channel, exchange, '', '', '');
  const places = await spread(channel, exchange, inboxes, Array(200).fill({ key: 'one key' }));
  equal(shares(places, 3).includes(0), false, 'a queue got nothing');
};

exports.recent_history_exchange = async (session) => {
  const channel = await session.channel();
  const options = { arguments: { 'x-recent-history-length': 5 } };
  const exchange = await session.exchange(channel, 'x-recent-history', 'exchange', options);
  for (const text of numerals(8)) publish(channel, exchange, `key-${text}`, text);
  const [late] = await boundInboxes(session, channel, exchange, '');
  publish(channel, exchange, '', 'afterwards');
  equal(await late.bodies(6), ['3', '4', '5', '6', '7', 'afterwards'], 'messages of a queue bound late');
};

exports.delayed_exchange = async (session) => {
  const channel = await session.channel();
  const options = { arguments: { 'x-delayed-type': 'direct' } };
  const exchange = await session.exchange(channel, 'x-delayed-message', 'exchange', options);
  const queue = await session.queue(channel);
  await channel.bindQueue(queue, exchange, 'key');
  const arrivals = [];
  const published = performance.now();
  await new Promise((resolve) => {
    const onMessage = (message) => {
      arrivals.push({ delay: Number(body(message)), after: performance.now() - published });
      if (arrivals.length === 4) resolve();
    };
    channel.consume(queue, onMessage, { noAck: true });
    publish(channel, exchange, 'another key', 'stray', { headers: { 'x-delay': 1 } });
    for (const delay of [300, 100, 200, 0]) {
      publish(channel, exchange, 'key', String(delay), { headers: { 'x-delay': delay } });
    }
  });
  equal(arrivals.map(({ delay }) => delay), [0, 100, 200, 300], 'messages in the order of their delays');
  equal(arrivals.filter(({ delay, after }) => after < delay), [], 'messages before their time');
};

exports.sender_selected_keys = async (session) => {
  const channel = await session.channel();
  const exchange = await session.exchange(channel, 'direct');
  const keys = ['to', 'cc', 'bcc'];
  for (const key of keys) await channel.bindQueue(await session.queue(channel, key), exchange, key);
  publish(channel, exchange, 'to', 'letter', { CC: ['cc', 'to'], BCC: 'bcc', headers: { kept: 'yes' } });
  for (const key of keys) {
    const queue = session.name(key);
    const message = await channel.get(queue, { noAck: true });
    equal([message.fields.routingKey, body(message)], ['to', 'letter'], `message to ${key}`);
    equal(message.properties.headers, { CC: ['cc', 'to'], kept: 'yes' }, `headers to ${key}`);
    equal(await drain(channel, queue), [], `further copies to ${key}`);
  }
};
