'use strict';

const { setTimeout: delay } = require('node:timers/promises');
const { Inbox, body, equal, lacking, refusalOf, send } = require('../harness');

async function roundTrip(stage, connection) {
  const channel = await stage.channel(connection);
  const queue = await stage.declare(channel);
  await channel.basicPublish('', queue, 'there and back');
  equal(body(await channel.basicGet(queue)), 'there and back', 'message');
}

/** The broker's URI with other parts. */
function changed(stage, changes) {
  return Object.assign(new URL(stage.url), changes).href;
}

exports.connect_by_uri = async (stage) => {
  const changes = { pathname: '/%2F', search: 'heartbeat=17&frameMax=65536&channelMax=9' };
  const connection = await stage.connect(changed(stage, changes));
  equal([connection.heartbeat, connection.frameMax, connection.channelMax], [17, 65536, 9], 'negotiated');
  await roundTrip(stage, connection);
  await connection.close();
  equal(connection.closed, true, 'closed');
};

exports.connect_by_options = async (stage) => {
  const name = stage.name('connection');
  const session = await stage.session({ name, heartbeat: 17, frameMax: 65536, channelMax: 5 });
  const queue = await stage.queue(session);
  await queue.publish('there and back');
  equal(body(await queue.get()), 'there and back', 'message');
  const { connection } = (await queue.subscribe({ noAck: true })).channel;
  equal([connection.heartbeat, connection.frameMax, connection.channelMax], [17, 65536, 5], 'negotiated');
  equal(connection.name, name, 'name');
  // Each subscription has a channel of its own, besides those for publishing and for everything else.
  for (let n = 0; n < 2; n++) await queue.subscribe({ noAck: true });
  equal(await refusalOf(queue.subscribe({ noAck: true })), 'Max number of channels reached', 'sixth channel');
};

exports.server_properties = lacking('amqp-client does not read what the server tells of itself');

exports.amqplain_login = lacking('amqp-client knows no mechanism but PLAIN');

exports.wrong_password = async (stage) => {
  const refusal =
    'connection closed: ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. For details see the ' +
    'broker logfile. (403)';
  equal(await refusalOf(stage.connect(changed(stage, { password: 'wrong' }))), refusal, 'wrong password');
  equal(await refusalOf(stage.connect(changed(stage, { username: 'nobody' }))), refusal, 'unknown user');
};

exports.unknown_vhost = async (stage) => {
  const refusal = 'connection closed: NOT_ALLOWED - vhost nowhere not found (530)';
  equal(await refusalOf(stage.connect(changed(stage, { pathname: '/nowhere' }))), refusal, 'refusal');
};

exports.heartbeats = async (stage) => {
  const connection = await stage.connect(changed(stage, { search: 'heartbeat=1' }));
  equal(connection.heartbeat, 1, 'negotiated');
  await delay(3500);
  await roundTrip(stage, connection);
};

exports.heartbeat_missed = async (stage) => {
  const channel = await stage.channel();
  const queue = await stage.declareShared(channel);
  const silent = stage.standingConsumer({ queue, heartbeat: 1, noAck: false });
  await send(channel, queue, 'held');
  equal(await silent.wait(1), ['held'], 'message of the silent consumer');
  const inbox = await Inbox.open(channel, queue);
  equal(await inbox.bodies(1), ['held'], 'message of the other consumer');
  equal(inbox.redelivered(), [true], 'redelivered');
};

exports.update_secret = async (stage) => {
  const connection = await stage.connect();
  await connection.updateSecret(new URL(stage.url).password, 'rotation');
  await roundTrip(stage, connection);
};

// The client refuses a frame_max below 8192.
exports.small_frames = async (stage) => {
  const channel = await stage.channel(await stage.connect(changed(stage, { search: 'frameMax=8192' })));
  equal(channel.connection.frameMax, 8192, 'negotiated');
  const queue = await stage.declare(channel);
  const content = Uint8Array.from({ length: 100_000 }, (_, n) => n % 251);
  await channel.basicPublish('', queue, content, { headers: { long: 'h'.repeat(3000) } });
  const message = await channel.basicGet(queue);
  equal(message.body.length, content.length, 'body size');
  equal(Buffer.compare(message.body, content), 0, 'body unchanged');
  equal(message.properties.headers, { long: 'h'.repeat(3000) }, 'headers');
};

exports.graceful_shutdown = async (stage) => {
  const connection = await stage.connect();
  await roundTrip(stage, connection);
  connection.errorIsExpected = true;
  const closed = new Promise((resolve) => {
    connection.ondisconnect = resolve;
  });
  stage.ask('stop');
  const reason = "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'";
  equal((await closed).message, `connection closed: ${reason} (320)`, 'close');
};
