'use strict';

const {
  Arrivals,
  Inbox,
  body,
  channelError,
  counts,
  drainFrom,
  equal,
  numbers,
  numerals,
  send,
} = require('../harness');

const REPLY_TO = 'amq.rabbitmq.reply-to';

// The client leaves Nagle's algorithm on, so that each reply and its acknowledgement would cost a delayed TCP ack.
const PREFETCH = 20;

/** A channel in a transaction that has got a job, published its results and acknowledged it. */
async function workInTransaction(stage, connection, queue, done, ...results) {
  const channel = await connection.channel();
  await send(channel, queue, 'job');
  await channel.txSelect();
  const job = await channel.basicGet(queue, { noAck: false });
  await send(channel, done, ...results);
  await job.ack();
  equal(await drainFrom(channel, done), [], 'messages before the end of the transaction');
  return channel;
}

exports.tx_commit = async (stage) => {
  const connection = await stage.connect();
  const observer = await connection.channel();
  const [queue, done] = [await stage.declare(observer), await stage.declare(observer, 'done')];
  const channel = await workInTransaction(stage, connection, queue, done, 'one', 'two');
  await channel.txCommit();
  equal(await drainFrom(observer, done), ['one', 'two'], 'messages after the commit');
  await channel.close();
  equal(await drainFrom(observer, queue), [], 'jobs left');

  const plain = await connection.channel();
  const notTransactional = 'PRECONDITION_FAILED - channel is not transactional';
  await channelError(plain, 406, notTransactional, () => plain.txCommit());
  const both = await connection.channel();
  await both.txSelect();
  const noSwitch = 'PRECONDITION_FAILED - cannot switch from tx to confirm mode';
  await channelError(both, 406, noSwitch, () => both.confirmSelect());
};

exports.tx_rollback = async (stage) => {
  const connection = await stage.connect();
  const observer = await connection.channel();
  const [queue, done] = [await stage.declare(observer), await stage.declare(observer, 'done')];
  const channel = await workInTransaction(stage, connection, queue, done, 'dropped');
  await channel.txRollback();
  equal(await drainFrom(observer, done), [], 'messages after the rollback');
  equal(await drainFrom(observer, queue), [], 'the job is still held');
  await send(channel, done, 'kept');
  await channel.txCommit();
  await channel.close();
  equal(await drainFrom(observer, done), ['kept'], 'messages of the next transaction');
  const job = await observer.basicGet(queue);
  equal([body(job), job.redelivered], ['job', true], 'the job comes back');
};

const double = (request) => String(2 * Number(body(request)));

exports.rpc_reply_queue = async (stage) => {
  const [server, caller] = [await stage.session(), await stage.session()];
  const requests = await stage.sharedQueue(server, 'requests');
  await server.rpcServer(requests.name, double, PREFETCH);
  const replies = await caller.queue('');
  const inbox = await Inbox.subscribe(replies, { noAck: true });
  const exchange = await caller.directExchange('');
  for (const n of numerals(100)) {
    await exchange.publish(n, { routingKey: requests.name, replyTo: replies.name, correlationId: `call-${n}` });
  }
  equal(
    (await inbox.wait(100)).map((answer) => [answer.properties.correlationId, Number(body(answer))]),
    numbers(100).map((n) => [`call-${n}`, 2 * n]),
    'answers',
  );
};

exports.direct_reply_to = async (stage) => {
  const [server, caller] = [await stage.session(), await stage.session()];
  const observer = await stage.channel();
  const requests = await stage.sharedQueue(server, 'requests');
  const addresses = new Arrivals();
  await server.rpcServer(requests.name, async (request) => {
    const { replyTo } = request.properties;
    const declared = await counts(observer, replyTo);
    equal(declared, { name: replyTo, messageCount: 0, consumerCount: 1 }, 'the caller is there');
    addresses.add(replyTo);
    return double(request);
  }, PREFETCH);
  const client = await caller.rpcClient();
  const answers = await Promise.all(numerals(100).map((n) => client.call(requests.name, n, { timeout: 10_000 })));
  equal(
    answers.map((answer) => [answer.properties.correlationId, Number(body(answer))]),
    numbers(100).map((n) => [(n + 1).toString(36), 2 * n]),
    'answers',
  );
  const address = addresses.list.at(-1);
  equal(address.startsWith(`${REPLY_TO}.`), true, `reply_to as the server sees it, ${address}`);
  await caller.stop();
  await channelError(observer, 404, `NOT_FOUND - no queue '${address}' in vhost '/'`, () => counts(observer, address));
};

exports.direct_reply_to_errors = async (stage) => {
  const connection = await stage.connect();
  const acknowledging = await connection.channel();
  await channelError(acknowledging, 406, 'PRECONDITION_FAILED - reply consumer cannot acknowledge', () =>
    acknowledging.basicConsume(REPLY_TO, { noAck: false }),
  );
  const twice = await connection.channel();
  await twice.basicConsume(REPLY_TO, { noAck: true });
  await channelError(twice, 406, 'PRECONDITION_FAILED - reply consumer already set', () =>
    twice.basicConsume(REPLY_TO, { noAck: true }),
  );
  const without = await connection.channel();
  await channelError(without, 406, 'PRECONDITION_FAILED - fast reply consumer does not exist', () =>
    without.basicPublish('', 'nobody', '', { replyTo: REPLY_TO }),
  );
};
