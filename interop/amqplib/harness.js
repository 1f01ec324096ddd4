// What every scenario needs: a deadline, connections that are closed behind it, and exact comparisons.
'use strict';

const assert = require('node:assert');
const crypto = require('node:crypto');
const { EventEmitter, once } = require('node:events');
const { setTimeout: delay } = require('node:timers/promises');
const amqp = require('amqplib');

const SCENARIO_TIMEOUT_S = 30;

class Lacking extends Error {}

/** A scenario that the client offers no way to play. */
function lacking(reason) {
  return () => {
    throw new Lacking(reason);
  };
}

function report(scenario, event, details = {}) {
  process.stdout.write(`${JSON.stringify({ scenario, event, ...details })}\n`);
}

async function play(name, scenario, url) {
  report(name, 'started');
  const started = performance.now();
  const seconds = () => (performance.now() - started) / 1000;
  const session = new Session(name, url);
  try {
    assert.ok(scenario, 'the client has no such scenario');
    await within(SCENARIO_TIMEOUT_S, Promise.race([scenario(session), session.failure]));
    await session.end();
    report(name, 'passed', { seconds: seconds() });
  } catch (error) {
    if (error instanceof Lacking) {
      report(name, 'lacking', { message: error.message });
    } else {
      report(name, 'failed', { seconds: seconds(), message: `${error.message}${where(error)}` });
    }
    await session.end();
  }
}

async function within(seconds, work) {
  const abort = new AbortController();
  const timeout = delay(seconds * 1000, undefined, { signal: abort.signal }).then(() => {
    throw new Error(`not done after ${seconds} s`);
  });
  timeout.catch(() => {});
  try {
    return await Promise.race([work, timeout]);
  } finally {
    abort.abort();
  }
}

/** The scenario's own line that threw. */
function where(error) {
  const place = /scenarios\/(\w+\.js:\d+)/.exec(error.stack ?? '');
  return place ? ` (${place[1]})` : '';
}

/** One scenario's view of the broker: its connections, and names that nothing else uses. */
class Session {
  constructor(scenarioName, url) {
    this.scenarioName = scenarioName;
    this.url = url;
    this.token = crypto.randomBytes(4).toString('hex');
    this.connections = [];
    this.deletions = [];
    this.failure = new Promise((_, reject) => {
      this.fail = reject;
    });
    this.failure.catch(() => {});
  }

  /** Asks the runner to do something to the broker: stop, restart, block or unblock. */
  ask(what) {
    report(this.scenarioName, what);
  }

  async connect(options = this.url, socketOptions = {}) {
    const connection = await amqp.connect(options, socketOptions);
    connection.on('error', (error) => this.unlessExpected(connection, error));
    this.connections.push(connection);
    return connection;
  }

  /** A channel, of its own connection if none is given. */
  async channel(connection) {
    const channel = await (connection ?? (await this.connect())).createChannel();
    return this.watched(channel);
  }

  async confirmChannel(connection) {
    const channel = await (connection ?? (await this.connect())).createConfirmChannel();
    return this.watched(channel);
  }

  /** An error that nobody expects fails the scenario. */
  watched(channel) {
    channel.on('error', (error) => this.unlessExpected(channel, error));
    return channel;
  }

  unlessExpected(emitter, error) {
    if (!emitter.errorIsExpected) this.fail(error);
  }

  name(label) {
    return `interop.${this.scenarioName}.${label}.${this.token}`;
  }

  /** Declares a queue that goes with the channel's connection. */
  async queue(channel, label = 'queue', options = {}) {
    const { queue } = await channel.assertQueue(this.name(label), { exclusive: true, durable: false, ...options });
    return queue;
  }

  /** Declares a queue that any connection may use, deleted after the scenario. */
  async sharedQueue(channel, label = 'queue', options = {}) {
    const { queue } = await channel.assertQueue(this.name(label), { durable: false, ...options });
    this.deletions.push((cleaner) => cleaner.deleteQueue(queue));
    return queue;
  }

  /** Declares an exchange, deleted after the scenario. */
  async exchange(channel, type, label = 'exchange', options = {}) {
    const { exchange } = await channel.assertExchange(this.name(label), type, { durable: false, ...options });
    this.deletions.push((cleaner) => cleaner.deleteExchange(exchange));
    return exchange;
  }

  async end() {
    this.fail = () => {};
    await Promise.allSettled(this.connections.map((connection) => within(5, closed(connection))));
    if (this.deletions.length > 0) {
      await within(5, this.deleteDeclared()).catch(() => {});
    }
  }

  async deleteDeclared() {
    const connection = await amqp.connect(this.url);
    connection.on('error', () => {});
    const channel = await connection.createChannel();
    for (const deletion of this.deletions) await deletion(channel);
    await connection.close();
  }
}

async function closed(connection) {
  await connection.close();
}

/** A consumer that keeps what it receives, for a test to wait on. */
class Inbox {
  static async open(channel, queue, options) {
    const inbox = new Inbox();
    const { consumerTag } = await channel.consume(queue, (message) => inbox.receive(message), options);
    inbox.tag = consumerTag;
    return inbox;
  }

  constructor() {
    this.messages = [];
    this.cancelled = false;
    this.arrivals = new EventEmitter();
  }

  receive(message) {
    if (message === null) this.cancelled = true;
    else this.messages.push(message);
    this.arrivals.emit('arrival');
  }

  async until(condition) {
    while (!condition()) await once(this.arrivals, 'arrival');
  }

  /** The first `count` messages, awaited. */
  async wait(count) {
    await this.until(() => this.messages.length >= count);
    return this.messages.slice(0, count);
  }

  /** The bodies of all messages, or of the first `count`, awaited. */
  async bodies(count) {
    const messages = count === undefined ? this.messages : await this.wait(count);
    return messages.map(body);
  }

  redelivered() {
    return this.messages.map((message) => message.fields.redelivered);
  }
}

function body(message) {
  return message.content.toString();
}

function send(channel, queue, ...bodies) {
  for (const text of bodies) channel.sendToQueue(queue, Buffer.from(text));
}

/** Takes everything out of a queue with get, and returns the messages. */
async function take(channel, queue) {
  const messages = [];
  for (;;) {
    const message = await channel.get(queue, { noAck: true });
    if (message === false) return messages;
    messages.push(message);
  }
}

async function drain(channel, queue) {
  return (await take(channel, queue)).map(body);
}

/** RabbitMQ answers a passive declare ahead of publishes that are still on their way to the queue. */
async function awaitReady(channel, queue, count) {
  await eventually(
    async () => (await channel.checkQueue(queue)).messageCount === count,
    `${count} messages ready`,
  );
}

/** For what the broker finishes in the background without telling anybody. */
async function eventually(condition, what) {
  const until = performance.now() + 5000;
  while (!(await condition())) {
    if (performance.now() > until) throw new Error(`${what}: not so after 5 s`);
    await delay(20);
  }
}

function equal(actual, expected, what) {
  try {
    assert.deepStrictEqual(actual, expected);
  } catch (error) {
    error.message = `${what}: expected ${shown(expected)}, got ${shown(actual)}`;
    throw error;
  }
}

function shown(value) {
  return JSON.stringify(value) ?? String(value);
}

/** Runs the action, which must make the broker close the channel with this code and text. */
function channelError(channel, code, text, action) {
  return closedByBroker(channel, code, text, action, 'channel');
}

function connectionError(connection, code, text, action) {
  return closedByBroker(connection, code, text, action, 'connection');
}

async function closedByBroker(emitter, code, text, action, what) {
  emitter.errorIsExpected = true;
  const [[error]] = await Promise.all([once(emitter, 'error').catch((e) => [e]), failing(action)]);
  equal({ code: error.code, text: replyText(error) }, { code, text }, `${what} error`);
}

/** The promise of an operation that closes its channel may be rejected; the error event says why. */
async function failing(action) {
  try {
    await action();
  } catch {
    // Told by the event.
  }
}

/** The broker's text within amqplib's message. */
function replyText(error) {
  const quoted = /with message "(.*)"$/s.exec(error.message);
  return quoted ? quoted[1] : error.message;
}

module.exports = {
  Inbox,
  awaitReady,
  body,
  channelError,
  connectionError,
  drain,
  equal,
  eventually,
  lacking,
  play,
  replyText,
  send,
  take,
};
