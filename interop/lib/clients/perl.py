"""Clients in Perl, as they come with Debian."""

from .base import Client, debian_package, need


class AnyEventRabbitMQ(Client):
    name = "perl"

    def version(self):
        return f"AnyEvent::RabbitMQ {debian_package('libanyevent-rabbitmq-perl').partition('~')[0]}"

    def check_tools(self):
        need("perl", "apt-get install perl")
        debian_package("libanyevent-rabbitmq-perl")

    def install_packages(self):
        """Debian's package is all there is."""

    def command(self, scenarios):
        return ["perl", self.folder / "run.pl", *scenarios]


CLIENTS = (AnyEventRabbitMQ(),)
