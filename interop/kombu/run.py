"""Plays the scenarios named as arguments against the broker at AMQP_URL, a line of JSON for each event."""

import importlib
import os
import pkgutil
import sys

import scenarios
from harness import play


def main():
    for module in pkgutil.iter_modules(scenarios.__path__):
        importlib.import_module(f"scenarios.{module.name}")
    for name in sys.argv[1:]:
        play(name, os.environ["AMQP_URL"])


if __name__ == "__main__":
    main()
