'use strict';

const crypto = require('node:crypto');
const { equal } = require('../harness');

const FRAME_OVERHEAD = 8;

exports.message_properties = async (stage) => {
  const channel = await stage.channel();
  const queue = await stage.declare(channel);
  const every = {
    contentType: 'application/json',
    contentEncoding: 'gzip',
    headers: { key: 'value' },
    deliveryMode: 2,
    priority: 7,
    correlationId: 'correlation',
    replyTo: 'reply.queue',
    expiration: '3600000',
    messageId: 'message-1',
    timestamp: new Date(1700000000000),
    type: 'order.created',
    userId: new URL(stage.url).username,
    appId: 'interop',
  };
  // The client has no way to set the cluster id, nor a priority of 0.
  const each = Object.entries(every).map(([name, value]) => ({ [name]: value }));
  for (const given of [every, {}, { headers: {} }, ...each]) {
    await channel.basicPublish('', queue, 'body', given);
    const { properties } = await channel.basicGet(queue);
    equal(properties, given, 'properties');
  }
};

exports.header_field_types = async (stage) => {
  const channel = await stage.channel();
  const queue = await stage.declare(channel);
  const headers = {
    longstr: 'text äöü',
    'empty longstr': '',
    bytes: Uint8Array.of(0, 255, 254),
    true: true,
    false: false,
    void: null,
    int32: -2147483648,
    int64: Number.MIN_SAFE_INTEGER,
    float: 0.5,
    double: 4294967296.25,
    timestamp: new Date(1709209815000),
    array: [1, 'two', [true, null], { four: 4 }],
    'empty array': [],
    table: { deeper: { deepest: {} }, bytes: Uint8Array.of(98) },
    ['k'.repeat(255)]: 'long key',
  };
  await channel.basicPublish('', queue, '', { headers: { ...headers, bigint: 2n ** 40n } });
  const { properties } = await channel.basicGet(queue);
  // A 64-bit integer comes back as a number, however it was sent.
  equal(properties.headers, { ...headers, bigint: 2 ** 40 }, 'headers');
};

exports.body_sizes = async (stage) => {
  const channel = await stage.channel();
  const queue = await stage.declare(channel);
  const { messages } = await channel.basicConsume(queue, { noAck: true });
  const frame = channel.connection.frameMax - FRAME_OVERHEAD;
  for (const size of [0, 1, frame - 1, frame, frame + 1, 2 * frame - 1, 2 * frame, 2 * frame + 1]) {
    const content = Uint8Array.from({ length: size }, (_, n) => n % 251);
    await channel.basicPublish('', queue, content);
    const { value: message } = await messages.next();
    equal([message.bodySize, message.body.length], [size, size], 'body size');
    equal(Buffer.compare(message.body, content), 0, `body of ${size} bytes unchanged`);
  }
};

exports.body_16_mib = async (stage) => {
  const session = await stage.session();
  const queue = await stage.queue(session);
  const content = crypto.randomBytes(16 * 1024 * 1024);
  await queue.publish(content);
  const message = await queue.consumeOne();
  equal(message.body.length, content.length, 'body size');
  equal(Buffer.compare(message.body, content), 0, 'body unchanged');
};
