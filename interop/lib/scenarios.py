"""The list of scenarios, read from the tables of README.md so that words and runs cannot differ."""

import re

from .paths import INTEROP

LAST = "graceful_shutdown"

# What has to be done to the broker while a client looks on can only be done to one of our own.
NEED_CONTROL = {"connection_blocked", "survives_restart", "automatic_recovery", LAST}

# What the RabbitMQ of Debian has not, so that it cannot be asked.
NOT_IN_RABBITMQ = {
    "delayed_exchange": "3.10.8 comes without the plugin of x-delayed-message",
}

_ROW = re.compile(r"^\| `([a-z0-9_]+)` \| (.+) \|$", re.MULTILINE)


def all_scenarios():
    """Names and descriptions, in order."""
    text = (INTEROP / "README.md").read_text(encoding="utf-8")
    return dict(_ROW.findall(text))


def select(wanted):
    """The wanted scenarios in their order, all of them if none is named."""
    known = all_scenarios()
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise LookupError(f"no scenario {', '.join(unknown)}; interop/run --list shows them")
    return [name for name in known if name in wanted or not wanted]


def for_client(names, client, clients):
    """Those of `names` that a client plays: one that begins with a client's name belongs to that client alone."""
    owner = lambda name: next((other for other in clients if name.startswith(f"{identifier(other)}_")), None)
    return [name for name in names if owner(name) == client.name or not (owner(name) or client.only_own_scenarios)]


def identifier(client_name):
    return client_name.replace("-", "_")
