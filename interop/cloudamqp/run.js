// Plays the scenarios named as arguments against the broker at AMQP_URL, a line of JSON for each event.
'use strict';

const path = require('node:path');
const { run } = require('../lib/node');
const { Stage } = require('./harness');

run(path.join(__dirname, 'scenarios'), Stage);
