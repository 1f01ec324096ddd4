'use strict';

const { Inbox, body, channelError, equal, lacking } = require('../harness');

const REPLY_TO = 'amq.rabbitmq.reply-to';

exports.tx_commit = lacking('amqplib has no transactions');
exports.tx_rollback = lacking('amqplib has no transactions');

/** Answers each request with twice its number, wherever it wants the answer. */
async function serveDoubles(channel, requests) {
  await channel.consume(requests, (request) => {
    const { replyTo, correlationId } = request.properties;
    channel.sendToQueue(replyTo, Buffer.from(String(2 * Number(body(request)))), { correlationId });
    channel.ack(request);
  });
}

async function callHundredTimes(caller, replies, replyTo, requests) {
  const expected = [];
  for (let n = 0; n < 100; n++) {
    caller.sendToQueue(requests, Buffer.from(String(n)), { replyTo, correlationId: `call-${n}` });
    expected.push([`call-${n}`, 2 * n]);
  }
  const answers = await replies.wait(100);
  equal(
    answers.map((answer) => [answer.properties.correlationId, Number(body(answer))]),
    expected,
    'answers',
  );
}

exports.rpc_reply_queue = async (session) => {
  const [server, caller] = [await session.channel(), await session.channel()];
  const requests = await session.sharedQueue(caller, 'requests');
  await serveDoubles(server, requests);
  const { queue: replyQueue } = await caller.assertQueue('', { exclusive: true });
  const replies = await Inbox.open(caller, replyQueue, { noAck: true });
  await callHundredTimes(caller, replies, replyQueue, requests);
};

exports.direct_reply_to = async (session) => {
  const connection = await session.connect();
  const [server, caller] = [await session.channel(), await session.channel(connection)];
  const requests = await session.sharedQueue(caller, 'requests');
  const replies = await Inbox.open(caller, REPLY_TO, { noAck: true });
  const seen = await Inbox.open(server, requests, { noAck: true });
  caller.sendToQueue(requests, Buffer.alloc(0), { replyTo: REPLY_TO });
  const [request] = await seen.wait(1);
  await server.cancel(seen.tag);
  const address = request.properties.replyTo;
  equal(address.startsWith(`${REPLY_TO}.`), true, `reply_to as the server sees it, ${address}`);
  const declared = await server.checkQueue(address);
  equal(declared, { queue: address, messageCount: 0, consumerCount: 1 }, 'the caller is there');

  await serveDoubles(server, requests);
  await callHundredTimes(caller, replies, REPLY_TO, requests);
  await connection.close();
  await channelError(server, 404, `NOT_FOUND - no queue '${address}' in vhost '/'`, () =>
    server.checkQueue(address),
  );
};

exports.direct_reply_to_errors = async (session) => {
  const connection = await session.connect();
  const acknowledging = await session.channel(connection);
  await channelError(acknowledging, 406, 'PRECONDITION_FAILED - reply consumer cannot acknowledge', () =>
    Inbox.open(acknowledging, REPLY_TO),
  );
  const twice = await session.channel(connection);
  await Inbox.open(twice, REPLY_TO, { noAck: true });
  await channelError(twice, 406, 'PRECONDITION_FAILED - reply consumer already set', () =>
    Inbox.open(twice, REPLY_TO, { noAck: true }),
  );
  const without = await session.channel(connection);
  await channelError(without, 406, 'PRECONDITION_FAILED - fast reply consumer does not exist', () =>
    without.sendToQueue('nobody', Buffer.alloc(0), { replyTo: REPLY_TO }),
  );
};
