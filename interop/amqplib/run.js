// Plays the scenarios named as arguments against the broker at AMQP_URL, a line of JSON for each event.
'use strict';

const fs = require('node:fs');
const path = require('node:path');
const { play } = require('./harness');

const registry = new Map();
const folder = path.join(__dirname, 'scenarios');
for (const file of fs.readdirSync(folder)) {
  for (const [name, scenario] of Object.entries(require(path.join(folder, file)))) {
    registry.set(name, scenario);
  }
}

async function main() {
  for (const name of process.argv.slice(2)) {
    await play(name, registry.get(name), process.env.AMQP_URL);
  }
  process.exit(0);
}

main();
