'use strict';

const {
  Inbox,
  body,
  channelError,
  drain,
  equal,
  numbers,
  numerals,
  refused,
  take,
} = require('../harness');

/** Publishes a text with a key, which is the text if none is given. */
function put(exchange, text, routingKey = text, options = {}) {
  return exchange.publish(text, { routingKey, ...options });
}

exports.predeclared_exchanges = async (stage) => {
  const session = await stage.session();
  // The client declares each under its usual name.
  await session.directExchange();
  await session.fanoutExchange();
  await session.topicExchange();
  await session.headersExchange();
  await session.headersExchange('amq.match');
  const channel = await stage.channel();
  for (const name of ['amq.direct', 'amq.fanout', 'amq.topic', 'amq.headers', 'amq.match']) {
    await channel.exchangeDeclare(name, '', { passive: true });
  }
};

exports.exchange_mismatch = async (stage) => {
  const session = await stage.session();
  const { name } = await stage.exchange(session, 'direct');
  const flag = "received 'true' but current is 'false'";
  const none = "received the value 'amq.fanout' of type 'longstr' but current is none";
  for (const [argument, type, options, difference] of [
    ['type', 'fanout', {}, "received 'fanout' but current is 'direct'"],
    ['durable', 'direct', { durable: true }, flag],
    ['auto_delete', 'direct', { autoDelete: true }, flag],
    ['internal', 'direct', { internal: true }, flag],
    ['alternate-exchange', 'direct', { arguments: { 'alternate-exchange': 'amq.fanout' } }, none],
  ]) {
    const text = `inequivalent arg '${argument}' for exchange '${name}' in vhost '/': ${difference}`;
    const declared = session.exchange(name, type, { durable: false, ...options });
    await refused(declared, 406, `PRECONDITION_FAILED - ${text}`);
  }
  await session.exchange(name, 'direct', { durable: false });
};

exports.default_exchange = async (stage) => {
  const session = await stage.session();
  const exchange = await session.directExchange('');
  const [first, second] = [await stage.queue(session, 'first'), await stage.queue(session, 'second')];
  await put(exchange, 'to first', first.name);
  await put(exchange, 'to second', second.name);
  await put(exchange, 'to nobody', stage.name('nobody'));
  equal(await drain(first), ['to first'], 'first');
  equal(await drain(second), ['to second'], 'second');
};

exports.direct_exchange = async (stage) => {
  const session = await stage.session();
  const exchange = await stage.exchange(session, 'direct');
  const [errors, everything] = [await stage.queue(session, 'errors'), await stage.queue(session, 'everything')];
  await errors.bind(exchange, 'error');
  for (const severity of ['info', 'warning', 'error', 'error']) await everything.bind(exchange, severity);
  for (const severity of ['info', 'warning', 'error', 'debug']) await put(exchange, severity);
  equal(await drain(errors), ['error'], 'errors');
  equal(await drain(everything), ['info', 'warning', 'error'], 'everything');
};

exports.fanout_exchange = async (stage) => {
  const session = await stage.session();
  const exchange = await stage.exchange(session, 'fanout');
  const queues = [];
  for (const n of numbers(5)) {
    queues.push(await stage.queue(session, `queue-${n}`));
    await queues[n].bind(exchange, `ignored-${n}`);
  }
  await put(exchange, 'one', '');
  await put(exchange, 'two', 'any.key');
  for (const queue of queues) equal(await drain(queue), ['one', 'two'], queue.name);
};

const TOPIC_CASES = {
  'a.b.c': ['a.b.c', 'a.*.c', '*.b.*', '*.*.*', '#', 'a.#', '#.c', 'a.#.c', 'a.#.#', '#.b.#'],
  'a.c': ['#', 'a.#', '#.c', 'a.#.c', 'a.#.#', '*.*'],
  a: ['#', 'a.#', '*', 'a.#.#'],
  '': ['#'],
  'a..c': ['a.*.c', '*.*.*', '#', 'a.#', '#.c', 'a.#.c', 'a.#.#', 'a..c'],
  b: ['#', '*', '#.b.#'],
};

exports.topic_exchange = async (stage) => {
  const session = await stage.session();
  const exchange = await stage.exchange(session, 'topic');
  const once = await stage.queue(session, 'one copy');
  const keys = Object.keys(TOPIC_CASES);
  const patterns = [...new Set(Object.values(TOPIC_CASES).flat())];
  const queues = new Map();
  for (const pattern of patterns) {
    queues.set(pattern, await stage.queue(session, `[${pattern}]`));
    await queues.get(pattern).bind(exchange, pattern);
    await once.bind(exchange, pattern);
  }
  for (const key of keys) await put(exchange, key);
  for (const [pattern, queue] of queues) {
    const expected = keys.filter((key) => TOPIC_CASES[key].includes(pattern));
    equal(await drain(queue), expected, `keys that ${pattern} matches`);
  }
  equal(await drain(once), keys, 'one copy of each');
};

exports.headers_exchange = async (stage) => {
  const session = await stage.session();
  const exchange = await stage.exchange(session, 'headers');
  const wanted = { format: 'pdf', pages: 3, draft: false };
  const tiered = { format: 'pdf', 'x-tier': 'gold' };
  const bindings = [
    [{ 'x-match': 'all', ...wanted }, ['all']],
    [{ 'x-match': 'any', ...wanted }, ['all', 'format only', 'draft only', 'tiered']],
    [wanted, ['all']],
    [{ 'x-match': 'all', ...tiered }, ['all', 'format only', 'tiered']],
    [{ 'x-match': 'all-with-x', ...tiered }, ['tiered']],
    [{ 'x-match': 'any-with-x', ...tiered }, ['all', 'format only', 'tiered', 'tier only']],
  ];
  const queues = [];
  for (const [n, [args]] of bindings.entries()) {
    queues.push(await stage.queue(session, `queue-${n}`));
    await queues[n].bind(exchange, '', args);
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
    await put(exchange, label, '', { headers });
  }
  for (const [n, [args, expected]] of bindings.entries()) {
    equal(await drain(queues[n]), expected, `bound with ${JSON.stringify(args)}`);
  }
};

exports.exchange_to_exchange = async (stage) => {
  const session = await stage.session();
  const source = await stage.exchange(session, 'topic', 'source');
  const middle = await stage.exchange(session, 'fanout', 'middle');
  const queue = await stage.queue(session);
  await middle.bind(source, 'orders.#');
  await source.bind(middle);
  await queue.bind(middle);
  await queue.bind(source, '#');
  await put(source, 'both ways', 'orders.new');
  await put(source, 'directly', 'other');
  equal(await drain(queue), ['both ways', 'directly'], 'messages, one copy each');
  await middle.unbind(source, 'orders.#');
  await queue.unbind(source, '#');
  await put(source, 'nowhere', 'orders.new');
  equal(await drain(queue), [], 'messages after unbind');
};

exports.alternate_exchange = async (stage) => {
  const returned = [];
  const session = await stage.session({ onreturn: (message) => returned.push(body(message)) });
  const fallback = await stage.exchange(session, 'fanout', 'fallback');
  const options = { arguments: { 'alternate-exchange': fallback.name } };
  const exchange = await stage.exchange(session, 'direct', 'main', options);
  const [known, unknown] = [await stage.queue(session, 'known'), await stage.queue(session, 'unknown')];
  await known.bind(exchange, 'known');
  await unknown.bind(fallback);
  await put(exchange, 'matched', 'known', { mandatory: true });
  await put(exchange, 'not matched', 'stray', { mandatory: true });
  equal(await drain(known), ['matched'], 'matched');
  const messages = await take(unknown);
  equal(
    messages.map((message) => [message.exchange, message.routingKey, body(message)]),
    [[exchange.name, 'stray', 'not matched']],
    'not matched',
  );
  equal(returned, [], 'returned');
};

exports.internal_exchange = async (stage) => {
  const session = await stage.session();
  const front = await stage.exchange(session, 'direct', 'front');
  const internal = await stage.exchange(session, 'fanout', 'internal', { internal: true });
  const queue = await stage.queue(session);
  await internal.bind(front, 'in');
  await queue.bind(internal);
  await put(front, 'through the front', 'in');
  equal(await drain(queue), ['through the front'], 'messages');
  const refusal = `ACCESS_REFUSED - cannot publish to internal exchange '${internal.name}' in vhost '/'`;
  await refused(put(internal, 'directly'), 403, refusal);
  equal(await drain(queue), [], 'messages after the refused publish');
};

exports.auto_delete_exchange = async (stage) => {
  const [session, observer] = [await stage.session(), await stage.channel()];
  const exchange = await stage.exchange(session, 'fanout', 'exchange', { autoDelete: true });
  const queue = await stage.queue(session);
  for (const key of ['one', 'two']) await queue.bind(exchange, key);
  await queue.unbind(exchange, 'one');
  const check = () => observer.exchangeDeclare(exchange.name, '', { passive: true });
  await check();
  await queue.unbind(exchange, 'two');
  await channelError(observer, 404, `NOT_FOUND - no exchange '${exchange.name}' in vhost '/'`, check);
};

exports.unbind = async (stage) => {
  const session = await stage.session();
  const exchange = await stage.exchange(session, 'headers');
  const queue = await stage.queue(session);
  const [red, blue] = ['red', 'blue'].map((colour) => ({ 'x-match': 'all', colour }));
  await queue.bind(exchange, '', red);
  await queue.bind(exchange, '', blue);
  await queue.unbind(exchange, '', red);
  await queue.unbind(exchange, 'never bound', blue);
  for (const colour of ['red', 'blue']) await put(exchange, colour, '', { headers: { colour } });
  equal(await drain(queue), ['blue'], 'messages');
};

/** Subscriptions to as many queues as there are keys, each bound with its key. */
async function boundInboxes(stage, session, exchange, ...keys) {
  const inboxes = [];
  for (const [n, key] of keys.entries()) {
    const queue = await stage.queue(session, `${exchange.name}-${n}`);
    await queue.bind(exchange, key);
    inboxes.push(await Inbox.subscribe(queue, { noAck: true }));
  }
  return inboxes;
}

/** Publishes messages of a key and headers, and returns for each the place of the one inbox that it came to. */
async function spread(exchange, inboxes, messages) {
  const before = inboxes.map((inbox) => inbox.messages.length);
  await Promise.all(messages.map(({ key, headers }, n) => put(exchange, String(n), key, { headers })));
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

exports.consistent_hash_exchange = async (stage) => {
  const session = await stage.session();
  const byKey = await stage.exchange(session, 'x-consistent-hash', 'by-key');
  const weighted = await boundInboxes(stage, session, byKey, '1', '1', '4');
  const messages = numbers(1000).map((n) => ({ key: `key-${n}` }));
  const places = await spread(byKey, weighted, messages);
  const [light, other, heavy] = shares(places, 3);
  equal(light > 0 && other > 0, true, `every queue got some of ${light}, ${other}, ${heavy}`);
  equal(heavy > light && heavy > other, true, `the weight 4 got most of ${light}, ${other}, ${heavy}`);
  equal(await spread(byKey, weighted, messages), places, 'places of the same keys again');

  const options = { arguments: { 'hash-header': 'customer' } };
  const byHeader = await stage.exchange(session, 'x-consistent-hash', 'by-header', options);
  const equals = await boundInboxes(stage, session, byHeader, '1', '1', '1');
  const orders = numbers(400).map((n) => ({ key: `key-${n}`, headers: { customer: String(n % 100) } }));
  const placesOfOrders = await spread(byHeader, equals, orders);
  equal(shares(placesOfOrders, 3).includes(0), false, 'a queue got nothing by header');
  equal(placesOfOrders, orders.map((_, n) => placesOfOrders[n % 100]), 'places of the same headers');
};

exports.modulus_hash_exchange = async (stage) => {
  const session = await stage.session();
  const exchange = await stage.exchange(session, 'x-modulus-hash');
  const inboxes = await boundInboxes(stage, session, exchange, '', '', '');
  const messages = numbers(200).map((n) => ({ key: `key-${n}` }));
  const places = await spread(exchange, inboxes, messages);
  equal(shares(places, 3).includes(0), false, 'a queue got nothing');
  equal(await spread(exchange, inboxes, messages), places, 'places of the same keys again');
};

exports.random_exchange = async (stage) => {
  const session = await stage.session();
  const exchange = await stage.exchange(session, 'x-random');
  const inboxes = await boundInboxes(stage, session, exchange, '', '', '');
  const places = await spread(exchange, inboxes, Array(200).fill({ key: 'one key' }));
  equal(shares(places, 3).includes(0), false, 'a queue got nothing');
};

exports.recent_history_exchange = async (stage) => {
  const session = await stage.session();
  const options = { arguments: { 'x-recent-history-length': 5 } };
  const exchange = await stage.exchange(session, 'x-recent-history', 'exchange', options);
  for (const text of numerals(8)) await put(exchange, text, `key-${text}`);
  const [late] = await boundInboxes(stage, session, exchange, '');
  await put(exchange, 'afterwards', '');
  equal(await late.bodies(6), ['3', '4', '5', '6', '7', 'afterwards'], 'messages of a queue bound late');
};

exports.delayed_exchange = async (stage) => {
  const session = await stage.session();
  const options = { arguments: { 'x-delayed-type': 'direct' } };
  const exchange = await stage.exchange(session, 'x-delayed-message', 'exchange', options);
  const queue = await stage.queue(session);
  await queue.bind(exchange, 'key');
  const subscription = await queue.subscribe({ noAck: true });
  const published = performance.now();
  await put(exchange, 'stray', 'another key', { headers: { 'x-delay': 1 } });
  for (const delay of [300, 100, 200, 0]) await put(exchange, String(delay), 'key', { headers: { 'x-delay': delay } });
  const arrivals = [];
  for await (const message of subscription) {
    arrivals.push({ delay: Number(body(message)), after: performance.now() - published });
    if (arrivals.length === 4) break;
  }
  equal(arrivals.map(({ delay }) => delay), [0, 100, 200, 300], 'messages in the order of their delays');
  equal(arrivals.filter(({ delay, after }) => after < delay), [], 'messages before their time');
};

exports.sender_selected_keys = async (stage) => {
  const session = await stage.session();
  const exchange = await stage.exchange(session, 'direct');
  const queues = [];
  for (const key of ['to', 'cc', 'bcc']) {
    const queue = await stage.queue(session, key);
    queues.push(await queue.bind(exchange, key));
  }
  await put(exchange, 'letter', 'to', { headers: { CC: ['cc', 'to'], BCC: ['bcc'], kept: 'yes' } });
  for (const queue of queues) {
    const copies = await take(queue);
    equal(
      copies.map((copy) => [copy.routingKey, body(copy), copy.properties.headers]),
      [['to', 'letter', { CC: ['cc', 'to'], kept: 'yes' }]],
      `copies in ${queue.name}`,
    );
  }
};
