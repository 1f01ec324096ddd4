"""Clients from npm."""

import json
import shutil

from .base import Client, need, run_tool


class NodeClient(Client):
    suffix = ".js"
    inputs = ("package.json", "package-lock.json")

    def version(self):
        dependencies = json.loads((self.folder / "package.json").read_text())["dependencies"]
        return " ".join(next(iter(dependencies.items())))

    def check_tools(self):
        hint = "apt-get install nodejs npm, or https://nodejs.org (version 18 or later)"
        need("node", hint)
        need("npm", hint)

    def install_packages(self):
        for name in self.inputs:
            shutil.copy(self.folder / name, self.installed)
        run_tool(self.name, ["npm", "ci", "--no-audit", "--no-fund"], cwd=self.installed)

    def run_file(self, path):
        return ["node", path]

    def command(self, scenarios):
        return [*self.run_file(self.folder / "run.js"), *scenarios]

    def environment(self):
        return {"NODE_PATH": str(self.installed / "node_modules")}


class Amqplib(NodeClient):
    name = "amqplib"
    has_tutorials = True


class CloudAmqp(NodeClient):
    name = "cloudamqp"


CLIENTS = (Amqplib(), CloudAmqp())
