"""Clients in Ruby, as Debian has them: they are found where Debian puts them."""

from ..paths import INTEROP
from .base import Client, debian_package, need


class Bunny(Client):
    name = "bunny"
    has_tutorials = True

    def version(self):
        return f"bunny {debian_package('ruby-bunny')}"

    def check_tools(self):
        need("ruby", "apt-get install ruby ruby-bunny")
        debian_package("ruby-bunny")

    def install_packages(self):
        """Nothing beyond Debian's package."""

    def command(self, scenarios):
        return ["ruby", self.folder / "run.rb", *scenarios]

    def tutorial_command(self, program):
        return ["ruby", INTEROP / "tutorials" / self.name / f"{program}.rb"]


CLIENTS = (Bunny(),)
