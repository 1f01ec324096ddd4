'use strict';

const { once } = require('node:events');
const { setTimeout: delay } = require('node:timers/promises');
const amqp = require('amqplib');
const { Inbox, drain, equal, replyText, send } = require('../harness');

const LOGIN_REFUSED =
  'Handshake terminated by server: 403 (ACCESS-REFUSED) with message "ACCESS_REFUSED - Login was refused using ' +
  'authentication mechanism PLAIN. For details see the broker logfile."';

async function roundTrip(session, connection) {
  const channel = await session.channel(connection);
  const queue = await session.queue(channel);
  send(channel, queue, 'there and back');
  equal(await drain(channel, queue), ['there and back'], 'messages');
}

/** The broker's address and login as amqplib's options. */
function options(session, changes) {
  const { hostname, port, username, password } = new URL(session.url);
  return { protocol: 'amqp', hostname, port: Number(port), username, password, vhost: '/', ...changes };
}

async function refused(session, changes, message) {
  const outcome = await session.connect(options(session, changes)).then(
    () => 'the connection was opened',
    (error) => error.message,
  );
  equal(outcome, message, 'refusal');
}

exports.connect_by_uri = async (session) => {
  const { host, username, password } = new URL(session.url);
  const connection = await amqp.connect(`amqp://${username}:${password}@${host}/%2F?heartbeat=17&frameMax=65536`);
  await roundTrip(session, connection);
  const closed = once(connection, 'close');
  await connection.close();
  await closed;
};

exports.connect_by_options = async (session) => {
  const connection = await session.connect(
    options(session, { channelMax: 5, frameMax: 65536, heartbeat: 17, locale: 'en_US' }),
    { noDelay: true, clientProperties: { connection_name: session.name('connection') } },
  );
  await roundTrip(session, connection);
  for (let n = 0; n < 4; n++) await connection.createChannel();
  const refusal = await connection.createChannel().then(
    () => 'a sixth channel was opened with channelMax 5',
    (error) => error.message,
  );
  equal(refusal, 'No channels left to allocate', 'sixth channel');
  await connection.close();
};

exports.server_properties = async (session) => {
  const { serverProperties } = (await session.connect()).connection;
  equal(serverProperties.product, 'RabbitMQ', 'product');
  equal(/^\d+\.\d+\.\d+$/.test(serverProperties.version), true, `version ${serverProperties.version} is x.y.z`);
  for (const capability of [
    'publisher_confirms',
    'exchange_exchange_bindings',
    'basic.nack',
    'consumer_cancel_notify',
    'connection.blocked',
    'consumer_priorities',
    'authentication_failure_close',
    'per_consumer_qos',
    'direct_reply_to',
  ]) {
    equal(serverProperties.capabilities[capability], true, capability);
  }
};

exports.amqplain_login = async (session) => {
  const { username, password } = new URL(session.url);
  const connection = await session.connect(options(session), {
    credentials: amqp.credentials.amqplain(username, password),
  });
  await roundTrip(session, connection);
};

exports.wrong_password = async (session) => {
  await refused(session, { password: 'wrong' }, LOGIN_REFUSED);
  await refused(session, { username: 'nobody', password: 'wrong' }, LOGIN_REFUSED);
};

// amqplib knows why the broker refused, but tells only that it did.
exports.unknown_vhost = (session) =>
  refused(session, { vhost: 'nowhere' }, 'Expected ConnectionOpenOk; got <ConnectionClose channel:0>');

exports.heartbeats = async (session) => {
  const connection = await session.connect(options(session, { heartbeat: 1 }));
  await delay(3500);
  await roundTrip(session, connection);
};

exports.heartbeat_missed = async (session) => {
  const channel = await session.channel();
  const queue = await session.sharedQueue(channel);
  const silent = session.standingConsumer({ queue, heartbeat: 1, noAck: false });
  send(channel, queue, 'held');
  equal(await silent.wait(1), ['held'], 'message of the silent consumer');
  const inbox = await Inbox.open(channel, queue);
  equal(await inbox.bodies(1), ['held'], 'message of the other consumer');
  equal(inbox.redelivered(), [true], 'redelivered');
};

exports.update_secret = async (session) => {
  const connection = await session.connect();
  await connection.updateSecret(Buffer.from(new URL(session.url).password), 'rotation');
  await roundTrip(session, connection);
};

exports.small_frames = async (session) => {
  const channel = await session.channel(await session.connect(options(session, { frameMax: 4096 })));
  const queue = await session.queue(channel);
  const content = Buffer.from(Array.from({ length: 100_000 }, (_, n) => n % 251));
  channel.sendToQueue(queue, content, { headers: { long: 'h'.repeat(3000) } });
  const message = await channel.get(queue, { noAck: true });
  equal(message.content.length, content.length, 'body size');
  equal(message.content.equals(content), true, 'body unchanged');
  equal(message.properties.headers, { long: 'h'.repeat(3000) }, 'headers');
};

exports.graceful_shutdown = async (session) => {
  const connection = await session.connect();
  await roundTrip(session, connection);
  const closed = once(connection, 'close');
  session.ask('stop');
  const [reason] = await closed;
  equal(
    { code: reason?.code, text: reason && replyText(reason) },
    { code: 320, text: "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'" },
    'close',
  );
};
