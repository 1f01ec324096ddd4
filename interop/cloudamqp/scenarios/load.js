'use strict';

const {
  Arrivals,
  Inbox,
  awaitReady,
  body,
  equal,
  numbers,
  numerals,
  publish,
  reconnected,
  send,
} = require('../harness');

const PUBLISHERS = 8;
const MESSAGES_EACH = 1000;

exports.concurrent_publishing = async (stage) => {
  const consumer = await stage.session();
  const inbox = await Inbox.subscribe(await stage.sharedQueue(consumer), { noAck: true });
  const connections = [await stage.connect(), await stage.connect()];
  const publishAll = async (publisher) => {
    const channel = await connections[publisher % connections.length].channel();
    await channel.confirmSelect();
    for (let n = 0; n < MESSAGES_EACH; n += 100) {
      await send(channel, stage.name('queue'), ...numbers(100).map((step) => `${publisher} ${n + step}`));
    }
  };
  await Promise.all(numbers(PUBLISHERS).map(publishAll));
  const received = numbers(PUBLISHERS).map(() => []);
  for (const text of await inbox.bodies(PUBLISHERS * MESSAGES_EACH)) {
    const [publisher, number] = text.split(' ').map(Number);
    received[publisher].push(number);
  }
  received.forEach((own, publisher) => {
    const complete = own.length === MESSAGES_EACH && own.every((number, n) => number === n);
    equal(complete, true, `publisher ${publisher} arrived in order, once each`);
  });
};

exports.slow_consumer = async (stage) => {
  const [session, channel] = [await stage.session(), await stage.channel()];
  const [slowQueue, fastQueue] = [await stage.sharedQueue(session, 'slow'), await stage.sharedQueue(session, 'fast')];
  const slow = await Inbox.subscribe(slowQueue, { prefetch: 20 });
  await publish(slowQueue, ...numerals(2000).map((number) => `${number} ${'.'.repeat(4096)}`));

  const fast = await Inbox.subscribe(fastQueue, { noAck: true });
  await publish(fastQueue, ...numerals(5000));
  equal(await fast.bodies(5000), numerals(5000), "the fast consumer's messages");

  await slow.wait(20);
  await awaitReady(channel, slowQueue.name, 1980);
  for (let settled = 0; settled < 2000; settled = slow.messages.length) {
    await slow.wait(settled + 1);
    await slow.messages.at(-1).ack(true);
  }
  const received = slow.messages.map((message) => Number.parseInt(body(message), 10));
  equal(received, numbers(2000), "the slow consumer's messages");
};

exports.unread_consumer = async (stage) => {
  const session = await stage.session();
  const [unread, fast] = [await stage.sharedQueue(session, 'unread'), await stage.sharedQueue(session, 'fast')];
  const standing = stage.standingConsumer({ queue: unread.name, heartbeat: 60, noAck: true });
  const padding = '.'.repeat(32768);
  await publish(unread, ...numerals(2048).map((number) => `${number} ${padding}`));
  await standing.wait(1);

  const inbox = await Inbox.subscribe(fast, { noAck: true });
  await publish(fast, ...numerals(5000));
  equal(await inbox.bodies(5000), numerals(5000), 'messages of the other consumer');

  standing.letGo();
  const received = (await standing.wait(2048)).map((text) => Number.parseInt(text, 10));
  equal(received, numbers(2048), 'messages read at last');
};

exports.survives_restart = async (stage) => {
  const connection = await stage.connect();
  const channel = await connection.channel();
  await channel.confirmSelect();
  const exchange = await stage.declareExchange(channel, 'direct', 'exchange', { durable: true });
  const queue = stage.name('queue');
  stage.deletions.push((cleaner) => cleaner.queueDelete(queue));
  await channel.queueDeclare(queue);
  await channel.queueBind(queue, exchange, 'key');
  const persistent = { deliveryMode: 2 };
  for (const text of numerals(5)) await channel.basicPublish(exchange, 'key', text, persistent);
  await channel.basicPublish(exchange, 'key', 'transient', { deliveryMode: 1 });
  for (let n = 0; n < 2; n++) await channel.basicGet(queue, { noAck: false });
  connection.errorIsExpected = true;
  const closed = new Promise((resolve) => {
    connection.ondisconnect = resolve;
  });
  stage.ask('restart');
  await closed;

  const again = await stage.channel(await reconnected(() => stage.connect()));
  await again.basicPublish(exchange, 'key', '5', persistent);
  const inbox = await Inbox.open(again, queue);
  equal(await inbox.bodies(6), numerals(6), 'messages after the restart');
  equal(inbox.redelivered(), [true, true, false, false, false, false], 'redelivered');
};

exports.automatic_recovery = async (stage) => {
  const broadcasts = new Arrivals();
  const connects = new Arrivals();
  // The client subscribes again by itself; what went with its connection is declared in onconnect, as its manual says.
  const onconnect = async (connected) => {
    const fanout = await connected.fanoutExchange(stage.name('fanout'), { durable: false, autoDelete: true });
    const temporary = await connected.queue('');
    await temporary.bind(fanout);
    await temporary.subscribe({ noAck: true }, (message) => broadcasts.add(body(message)));
    connects.add(fanout);
  };
  const session = await stage.session({ reconnectInterval: 100, maxReconnectInterval: 500, onconnect });
  const exchange = await stage.exchange(session, 'direct', 'exchange', { durable: true });
  const queue = await stage.sharedQueue(session, 'queue', { durable: true });
  await queue.bind(exchange, 'key');
  const inbox = await Inbox.subscribe(queue, { prefetch: 2 });

  const roundTrip = async (times) => {
    await (await connects.wait(times)).at(-1).publish(`broadcast ${times}`);
    equal((await broadcasts.wait(times)).at(-1), `broadcast ${times}`, 'message of the queue declared in onconnect');
    const already = 3 * (times - 1);
    for (const n of numbers(3)) await exchange.publish(String(already + n), { routingKey: 'key' });
    equal((await inbox.bodies(already + 2)).slice(already), numerals(already + 2).slice(already), 'messages');
    const observer = await stage.channel();
    await awaitReady(observer, queue.name, 1);
    await observer.connection.close();
    equal(inbox.messages.length, already + 2, 'messages, as many as the prefetch');
    await inbox.messages.at(-1).ack(true);
    equal((await inbox.bodies(already + 3)).at(-1), String(already + 2), 'message after the acknowledgement');
    await inbox.messages.at(-1).ack();
    // An answer on the same channel says that the acknowledgement is there, too.
    await inbox.subscription.channel.prefetch(2);
  };
  await roundTrip(1);
  stage.ask('restart');
  await roundTrip(2);
  equal(inbox.redelivered().includes(true), false, 'redelivered');
};
