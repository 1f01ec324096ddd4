"""Plays the scenarios named as arguments against the broker at AMQP_URL, a line of JSON for each event."""

from harness import run
from playing import main

main(run)
