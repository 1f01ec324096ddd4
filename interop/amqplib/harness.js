// What every scenario needs: connections that are closed behind it, an inbox, and the broker's errors.
'use strict';

const { once } = require('node:events');
const path = require('node:path');
const amqp = require('amqplib');
const shared = require('../lib/node');

const { Arrivals, Scene, equal, eventually, within } = shared;

/** One scenario's view of the broker, with its connections and what has to be deleted after it. */
class Session extends Scene {
  constructor(scenarioName, url) {
    super(scenarioName, url);
    this.connections = [];
    this.deletions = [];
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

  /** A consumer in a thread of its own that stands still with its first message. */
  standingConsumer(options) {
    return super.standingConsumer(path.join(__dirname, 'standing_consumer.js'), options);
  }

  async end() {
    await super.end();
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
class Inbox extends Arrivals {
  static async open(channel, queue, options) {
    const inbox = new Inbox();
    const { consumerTag } = await channel.consume(queue, (message) => inbox.receive(message), options);
    inbox.tag = consumerTag;
    return inbox;
  }

  cancelled = false;

  get messages() {
    return this.list;
  }

  receive(message) {
    if (message !== null) return this.add(message);
    this.cancelled = true;
    this.changed();
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
  ...shared,
  Inbox,
  Session,
  awaitReady,
  body,
  channelError,
  connectionError,
  drain,
  replyText,
  send,
  take,
};
