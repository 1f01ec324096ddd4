"""Clients in Erlang."""

import os
from pathlib import Path

from .base import Client, Missing, need, run_tool


class AmqpClient(Client):
    """The library of RabbitMQ's own, as it comes with Debian's broker."""

    name = "erlang"
    inputs = ("*.erl", "*.hrl")
    package = "rabbitmq-server"

    def version(self):
        return self._library().name.replace("-", " ")

    def check_tools(self):
        need("erlc", "apt-get install erlang-base")
        need("erl", "apt-get install erlang-base")
        self._library()

    def install_packages(self):
        sources = sorted(self.folder.glob("*.erl"))
        environment = {**os.environ, **self.environment()}
        run_tool(self.name, ["erlc", "-o", self.installed, *sources], env=environment)

    def command(self, scenarios):
        return ["erl", "-noinput", "-pa", self.installed, "-s", "interop", "main", "-extra", *scenarios]

    def environment(self):
        return {"ERL_LIBS": str(self._library().parent)}

    def _library(self):
        """amqp_client, among the libraries that it needs."""
        found = sorted(Path("/usr/lib/rabbitmq/lib").glob("rabbitmq_server-*/plugins/amqp_client-*"))
        if not found:
            raise Missing(f"amqp_client is not installed; apt-get install {self.package}")
        return found[-1]


CLIENTS = (AmqpClient(),)
