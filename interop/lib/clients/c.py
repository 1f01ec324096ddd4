"""Clients in C, built against Debian's libraries."""

from .base import Client, debian_package, need, run_tool


class Librabbitmq(Client):
    name = "librabbitmq"
    inputs = ("Makefile", "*.[ch]", "scenarios/*.c")

    def version(self):
        return f"{self.name} {debian_package('librabbitmq-dev')}"

    def check_tools(self):
        need("cc", "apt-get install gcc libc6-dev")
        need("make", "apt-get install make")
        debian_package("librabbitmq-dev")

    def install_packages(self):
        run_tool(self.name, ["make", "--directory", self.folder, f"BUILD={self.installed}"])

    def command(self, scenarios):
        return [self.installed / "play", *scenarios]


CLIENTS = (Librabbitmq(),)
