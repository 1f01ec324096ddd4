// What clients of Node.js share: playing scenarios within their time, exact comparisons, consumers that stand still.
'use strict';

const assert = require('node:assert');
const crypto = require('node:crypto');
const { EventEmitter, once } = require('node:events');
const fs = require('node:fs');
const path = require('node:path');
const { setTimeout: delay } = require('node:timers/promises');
const { Worker, parentPort, workerData } = require('node:worker_threads');

const SCENARIO_TIMEOUT_S = 45;
const RECONNECT_TIMEOUT_S = 40;

class Lacking extends Error {}

/** A scenario that the client offers no way to play. */
function lacking(reason) {
  return () => {
    throw new Lacking(reason);
  };
}

/** Plays the scenarios named as arguments, which are functions of a `Session` in the files of a folder. */
async function run(folder, Session) {
  const registry = new Map();
  for (const file of fs.readdirSync(folder)) {
    for (const [name, scenario] of Object.entries(require(path.join(folder, file)))) registry.set(name, scenario);
  }
  for (const name of process.argv.slice(2)) {
    await play(name, registry.get(name), new Session(name, process.env.AMQP_URL));
  }
  process.exit(0);
}

async function play(name, scenario, session) {
  report(name, 'started');
  const started = performance.now();
  const seconds = () => (performance.now() - started) / 1000;
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

function report(scenario, event, details = {}) {
  process.stdout.write(`${JSON.stringify({ scenario, event, ...details })}\n`);
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

/** One scenario's view of the broker: names that nothing else uses, and what has to be done when it is over. */
class Scene {
  constructor(scenarioName, url) {
    this.scenarioName = scenarioName;
    this.url = url;
    this.token = crypto.randomBytes(4).toString('hex');
    this.threads = [];
    this.failure = new Promise((_, reject) => {
      this.fail = reject;
    });
    this.failure.catch(() => {});
  }

  /** Asks the runner to do something to the broker: stop, restart, block or unblock. */
  ask(what) {
    report(this.scenarioName, what);
  }

  name(label) {
    return `interop.${this.scenarioName}.${label}.${this.token}`;
  }

  /** Starts a program with a consumer that stands still; see `StandingConsumer`. */
  standingConsumer(program, options) {
    const consumer = new StandingConsumer(program, { url: this.url, ...options });
    this.threads.push(consumer);
    return consumer;
  }

  async end() {
    this.fail = () => {};
    await Promise.all(this.threads.map((thread) => thread.terminate()));
  }
}

/** What a scenario waits on: things that have arrived so far. */
class Arrivals {
  constructor() {
    this.list = [];
    this.emitter = new EventEmitter();
  }

  add(thing) {
    this.list.push(thing);
    this.changed();
  }

  changed() {
    this.emitter.emit('change');
  }

  async until(condition) {
    while (!condition()) await once(this.emitter, 'change');
  }

  /** The first `count`, awaited. */
  async wait(count) {
    await this.until(() => this.list.length >= count);
    return this.list.slice(0, count);
  }
}

/**
 * A consumer in a thread of its own whose handler does not return from the first message until it is let go. Meanwhile
 * the thread neither reads nor sends anything, heartbeats included, as a program that computes in its handler.
 */
class StandingConsumer extends Arrivals {
  constructor(program, options) {
    super();
    this.gate = new Int32Array(new SharedArrayBuffer(4));
    this.worker = new Worker(program, { workerData: { ...options, gate: this.gate } });
    this.worker.on('message', (body) => this.add(body));
  }

  letGo() {
    Atomics.store(this.gate, 0, 1);
    Atomics.notify(this.gate, 0);
  }

  terminate() {
    this.letGo();
    return this.worker.terminate();
  }
}

/** The thread's own side of `StandingConsumer`: hands over a body, and stands still until it is let go. */
function standStill(body) {
  parentPort.postMessage(body);
  Atomics.wait(workerData.gate, 0, 0);
}

/** Tries until the broker, which is being restarted, takes the connection. */
async function reconnected(connect) {
  const until = performance.now() + RECONNECT_TIMEOUT_S * 1000;
  for (;;) {
    try {
      return await connect();
    } catch (error) {
      if (performance.now() > until) throw error;
      await delay(100);
    }
  }
}

/** For what the broker finishes in the background without telling anybody. */
async function eventually(condition, what, seconds = 5) {
  const until = performance.now() + seconds * 1000;
  while (!(await condition())) {
    if (performance.now() > until) throw new Error(`${what}: not so after ${seconds} s`);
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

/** 0, 1, 2 … */
function numbers(count) {
  return Array.from({ length: count }, (_, n) => n);
}

/** As bodies of messages. */
function numerals(count) {
  return numbers(count).map(String);
}

module.exports = {
  Arrivals,
  Scene,
  equal,
  eventually,
  lacking,
  numbers,
  numerals,
  reconnected,
  run,
  standStill,
  within,
};
