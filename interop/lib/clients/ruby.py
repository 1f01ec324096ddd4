"""Clients in Ruby, as Debian has them: they are found where Debian puts them."""

from .base import Client, debian_package, need


class Bunny(Client):
    name = "bunny"
    suffix = ".rb"
    has_tutorials = True

    def version(self):
        return f"bunny {debian_package('ruby-bunny')}"

    def check_tools(self):
        need("ruby", "apt-get install ruby ruby-bunny")
        debian_package("ruby-bunny")

    def install_packages(self):
        """Nothing beyond Debian's package."""

    def command(self, scenarios):
        return [*self.run_file(self.folder / "run.rb"), *scenarios]

    def run_file(self, path):
        return ["ruby", path]


CLIENTS = (Bunny(),)
