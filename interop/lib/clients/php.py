"""Clients in PHP, as Debian has them: they are on PHP's include path."""

from .base import Client, debian_package, need

PACKAGES = ("php-amqplib", "php-mbstring")

# Warnings have no place among the reports; and a body of 16 MiB passes through several copies.
OPTIONS = ("-d", "display_errors=stderr", "-d", "memory_limit=512M")


class PhpAmqplib(Client):
    name = "php-amqplib"
    suffix = ".php"
    has_tutorials = True

    def version(self):
        return f"php-amqplib {debian_package('php-amqplib')}"

    def check_tools(self):
        need("php", "apt-get install php-cli php-mbstring php-amqplib")
        for package in PACKAGES:
            debian_package(package)

    def install_packages(self):
        """Nothing beyond Debian's packages."""

    def command(self, scenarios):
        return [*self.run_file(self.folder / "run.php"), *scenarios]

    def run_file(self, path):
        return ["php", *OPTIONS, path]


CLIENTS = (PhpAmqplib(),)
