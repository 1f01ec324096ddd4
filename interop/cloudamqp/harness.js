// What every scenario needs: sessions and connections that are closed behind it, an inbox, and the broker's errors.
'use strict';

const path = require('node:path');
const { AMQPClient, AMQPSession } = require('@cloudamqp/amqp-client');
const shared = require('../lib/node');

const { Arrivals, Scene, equal, eventually, within } = shared;

/**
 * One scenario's view of the broker. The client has two levels: sessions with objects for queues and exchanges, and
 * connections with channels.
 */
class Stage extends Scene {
  constructor(scenarioName, url) {
    super(scenarioName, url);
    this.opened = [];
    this.deletions = [];
  }

  async session(options) {
    const session = await AMQPSession.connect(this.url, options);
    this.opened.push(() => session.stop());
    return session;
  }

  /** An error that nobody expects fails the scenario. */
  async connect(url = this.url) {
    const connection = new AMQPClient(url);
    await connection.connect();
    this.opened.push(() => connection.close());
    connection.onerror = (error) => {
      if (!connection.errorIsExpected) this.fail(error);
    };
    return connection;
  }

  /** A channel, of its own connection if none is given. */
  async channel(connection) {
    return (connection ?? (await this.connect())).channel();
  }

  /** A queue that goes with its session. */
  queue(session, label = 'queue', options = {}) {
    return session.queue(this.name(label), { exclusive: true, durable: false, ...options });
  }

  /** A queue that any connection may use, deleted after the scenario. */
  async sharedQueue(session, label = 'queue', options = {}) {
    const name = this.name(label);
    this.deletions.push((cleaner) => cleaner.queueDelete(name));
    return session.queue(name, { durable: false, ...options });
  }

  /** An exchange, deleted after the scenario. */
  async exchange(session, type, label = 'exchange', options = {}) {
    const name = this.name(label);
    this.deletions.push((cleaner) => cleaner.exchangeDelete(name));
    return session.exchange(name, type, { durable: false, ...options });
  }

  /** Declares a queue that goes with the channel's connection, and returns its name. */
  async declare(channel, label = 'queue', options = {}, args = {}) {
    const params = { exclusive: true, durable: false, ...options };
    const { name } = await channel.queueDeclare(this.name(label), params, args);
    return name;
  }

  /** Declares a queue that any connection may use, deleted after the scenario. */
  declareShared(channel, label = 'queue', args = {}) {
    this.deletions.push((cleaner) => cleaner.queueDelete(this.name(label)));
    return this.declare(channel, label, { exclusive: false }, args);
  }

  /** Declares an exchange, deleted after the scenario, and returns its name. */
  async declareExchange(channel, type, label = 'exchange', options = {}) {
    const name = this.name(label);
    this.deletions.push((cleaner) => cleaner.exchangeDelete(name));
    await channel.exchangeDeclare(name, type, { durable: false, ...options });
    return name;
  }

  /** A consumer in a thread of its own that stands still with its first message. */
  standingConsumer(options) {
    return super.standingConsumer(path.join(__dirname, 'standing_consumer.js'), options);
  }

  async end() {
    await super.end();
    await Promise.allSettled(this.opened.map((close) => within(5, close())));
    if (this.deletions.length > 0) {
      await within(5, this.deleteDeclared()).catch(() => {});
    }
  }

  async deleteDeclared() {
    const connection = await new AMQPClient(this.url).connect();
    const channel = await connection.channel();
    for (const deletion of this.deletions) await deletion(channel);
    await connection.close();
  }
}

/** A consumer that keeps what it receives, for a test to wait on. */
class Inbox extends Arrivals {
  /** Of a channel; it acknowledges unless told otherwise. */
  static async open(channel, queue, params = {}) {
    const inbox = new Inbox();
    const receive = (message) => inbox.add(message);
    inbox.consumer = await channel.basicConsume(queue, { noAck: false, ...params }, receive);
    return inbox;
  }

  /** Of a queue object; the scenario acknowledges. */
  static async subscribe(queue, params = {}) {
    const inbox = new Inbox();
    const receive = (message) => inbox.add(message);
    inbox.subscription = await queue.subscribe({ manualAck: !params.noAck, ...params }, receive);
    return inbox;
  }

  get messages() {
    return this.list;
  }

  /** The bodies of all messages, or of the first `count`, awaited. */
  async bodies(count) {
    const messages = count === undefined ? this.messages : await this.wait(count);
    return messages.map(body);
  }

  redelivered() {
    return this.messages.map((message) => message.redelivered);
  }
}

function body(message) {
  return message.bodyString();
}

/** Publishes to a queue of this name, in order. */
async function send(channel, queue, ...bodies) {
  await Promise.all(bodies.map((text) => channel.basicPublish('', queue, text)));
}

/** Publishes by a queue object or exchange object, in order, until all are confirmed. */
async function publish(target, ...bodies) {
  await Promise.all(bodies.map((text) => target.publish(text)));
}

/** Takes everything out of a queue object with get, and returns the messages. */
function take(queue) {
  return takeUntilEmpty(() => queue.get());
}

async function drain(queue) {
  return (await take(queue)).map(body);
}

/** The same on a channel. */
function takeFrom(channel, queue) {
  return takeUntilEmpty(() => channel.basicGet(queue));
}

async function drainFrom(channel, queue) {
  return (await takeFrom(channel, queue)).map(body);
}

async function takeUntilEmpty(get) {
  const messages = [];
  for (;;) {
    const message = await get();
    if (message === null) return messages;
    messages.push(message);
  }
}

/** What a passive declare tells. */
function counts(channel, queue) {
  return channel.queueDeclare(queue, { passive: true });
}

/** RabbitMQ answers a passive declare ahead of publishes that are still on their way to the queue. */
async function awaitReady(channel, queue, count) {
  await eventually(
    async () => (await counts(channel, queue)).messageCount === count,
    `${count} messages ready`,
  );
}

/** Runs the action, which must make the broker close the channel with this code and text. */
async function channelError(channel, code, text, action) {
  const closed = new Promise((resolve) => {
    channel.onerror = resolve;
  });
  const [reason, refusal] = await Promise.all([closed, refusalOf(action())]);
  const expected = `channel ${channel.id} closed: ${text} (${code})`;
  equal(reason, expected, 'channel error');
  if (refusal !== undefined) equal(refusal, expected, 'refusal');
}

async function connectionError(connection, code, text, action) {
  connection.errorIsExpected = true;
  const closed = new Promise((resolve) => {
    connection.ondisconnect = resolve;
  });
  const [{ message }, refusal] = await Promise.all([closed, refusalOf(action())]);
  const expected = `connection closed: ${text} (${code})`;
  equal(message, expected, 'connection error');
  if (refusal !== undefined) equal(refusal, expected, 'refusal');
}

/** The promise of a session's operation, which must be rejected because the broker closed the channel with this. */
async function refused(promise, code, text) {
  const refusal = await refusalOf(promise);
  equal(refusal?.replace(/^channel \d+ closed: /, ''), `${text} (${code})`, 'refusal');
}

/** The message of the error with which a promise is rejected, if it is. */
function refusalOf(promise) {
  return promise.then(
    () => undefined,
    (error) => error.message,
  );
}

module.exports = {
  ...shared,
  Inbox,
  Stage,
  awaitReady,
  body,
  channelError,
  connectionError,
  counts,
  drain,
  drainFrom,
  publish,
  refusalOf,
  refused,
  send,
  take,
  takeFrom,
};
