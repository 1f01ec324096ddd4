"""Clients from the Go module proxy."""

import re

from ..paths import INTEROP
from .base import Client, need, run_tool


class Amqp091Go(Client):
    name = "go"
    inputs = ("go.*", "*.go", "../tutorials/go/go.*", "../tutorials/go/*/*.go")
    has_tutorials = True
    module = "github.com/rabbitmq/amqp091-go"

    def version(self):
        required = re.search(rf"{re.escape(self.module)} v(\S+)", (self.folder / "go.mod").read_text())
        return f"amqp091-go {required[1]}"

    def check_tools(self):
        need("go", "apt-get install golang-go, or https://go.dev/dl (version 1.20 or later)")

    def install_packages(self):
        self._build(self.folder, self._program())
        self._tutorials().mkdir()
        self._build(INTEROP / "tutorials" / self.name, self._tutorials())

    def _build(self, folder, output):
        # The state of the repository would be part of the program, and git may refuse to tell it.
        run_tool(self.name, ["go", "build", "-buildvcs=false", "-o", output, "./..."], cwd=folder)

    def command(self, scenarios):
        return [self._program(), *scenarios]

    def tutorial_command(self, program):
        return [self._tutorials() / program]

    def _program(self):
        return self.installed / "interop"

    def _tutorials(self):
        return self.installed / "tutorials"


CLIENTS = (Amqp091Go(),)
