"""Clients from the Go module proxy."""

import re

from .base import Client, need, run_tool


class Amqp091Go(Client):
    name = "go"
    inputs = ("go.*", "*.go")
    module = "github.com/rabbitmq/amqp091-go"

    def version(self):
        required = re.search(rf"{re.escape(self.module)} v(\S+)", (self.folder / "go.mod").read_text())
        return f"amqp091-go {required[1]}"

    def check_tools(self):
        need("go", "apt-get install golang-go, or https://go.dev/dl (version 1.20 or later)")

    def install_packages(self):
        # The state of the repository would be part of the program, and git may refuse to tell it.
        run_tool(self.name, ["go", "build", "-buildvcs=false", "-o", self._program(), "."], cwd=self.folder)

    def command(self, scenarios):
        return [self._program(), *scenarios]

    def _program(self):
        return self.installed / "interop"


CLIENTS = (Amqp091Go(),)
