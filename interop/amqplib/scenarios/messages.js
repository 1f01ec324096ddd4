'use strict';

const crypto = require('node:crypto');
const { Inbox, equal } = require('../harness');

const FRAME_MAX = 131072;
const FRAME_OVERHEAD = 8;

exports.message_properties = async (session) => {
  const channel = await session.channel();
  const queue = await session.queue(channel);
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
    timestamp: 1700000000,
    type: 'order.created',
    userId: new URL(session.url).username,
    appId: 'interop',
  };
  // amqplib always sends headers, and has no way to set the cluster id.
  for (const given of [every, { headers: {} }, { headers: {}, priority: 0 }]) {
    channel.sendToQueue(queue, Buffer.from('body'), given);
    const { properties } = await channel.get(queue, { noAck: true });
    const received = Object.entries(properties).filter(([, value]) => value !== undefined);
    equal(Object.fromEntries(received), given, 'properties');
  }
};

exports.header_field_types = async (session) => {
  const channel = await session.channel();
  const queue = await session.queue(channel);
  const typed = (type, value) => ({ '!': type, value });
  const sent = {
    longstr: 'text äöü',
    'empty longstr': '',
    bytes: Buffer.from([0, 255, 254]),
    true: true,
    false: false,
    void: null,
    int8: typed('int8', -128),
    uint8: typed('uint8', 255),
    int16: typed('int16', -32768),
    uint16: typed('uint16', 65535),
    int32: typed('int32', -2147483648),
    uint32: typed('uint32', 4294967295),
    int64: typed('int64', Number.MIN_SAFE_INTEGER),
    float: typed('float', 0.5),
    double: 1.2345678901234567,
    decimal: typed('decimal', { places: 3, digits: 12345 }),
    timestamp: typed('timestamp', 1709209815),
    array: [1, 'two', [true, null], { four: 4 }],
    'empty array': [],
    table: { deeper: { deepest: {} }, bytes: Buffer.from('b') },
    ['k'.repeat(255)]: 'long key',
  };
  const keptTyped = new Set(['decimal', 'timestamp']);
  const plain = ([key, value]) => [key, value?.['!'] && !keptTyped.has(key) ? value.value : value];
  channel.sendToQueue(queue, Buffer.alloc(0), { headers: sent });
  const { properties } = await channel.get(queue, { noAck: true });
  equal(properties.headers, Object.fromEntries(Object.entries(sent).map(plain)), 'headers');
};

exports.body_sizes = async (session) => {
  const channel = await session.channel();
  const queue = await session.queue(channel);
  const inbox = await Inbox.open(channel, queue, { noAck: true });
  const frame = FRAME_MAX - FRAME_OVERHEAD;
  const sizes = [0, 1, frame - 1, frame, frame + 1, 2 * frame - 1, 2 * frame, 2 * frame + 1];
  const contents = sizes.map((size) => Buffer.from(Array.from({ length: size }, (_, n) => n % 251)));
  for (const content of contents) channel.sendToQueue(queue, content);
  for (const [n, message] of (await inbox.wait(sizes.length)).entries()) {
    equal(message.content.length, sizes[n], 'body size');
    equal(message.content.equals(contents[n]), true, `body of ${sizes[n]} bytes unchanged`);
  }
};

exports.body_16_mib = async (session) => {
  const channel = await session.confirmChannel();
  const queue = await session.queue(channel);
  const content = crypto.randomBytes(16 * 1024 * 1024);
  channel.sendToQueue(queue, content);
  await channel.waitForConfirms();
  const inbox = await Inbox.open(channel, queue, { noAck: true });
  const [message] = await inbox.wait(1);
  equal(message.content.length, content.length, 'body size');
  equal(message.content.equals(content), true, 'body unchanged');
};
