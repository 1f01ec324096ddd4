"""docs/interop.md: which client was tried with what, as a run of everything found it."""

from .clients import Missing
from .report import FAILED, LACKING, NOT_IN_BROKER, PASSED
from .scenarios import NOT_IN_RABBITMQ

HEADING = """# Which clients work

This page is written by `interop/run` when it plays everything against Leveret. Each client comes from where its users get it,
in the version given here, and plays the scenarios that [interop/README.md](../interop/README.md) tells in words. RabbitMQ 3.10.8 is
asked first (`interop/run --broker rabbitmq`): a scenario that it does not pass is wrong, but for what it lacks, named at the end.

`ok`: it passes. `–`: the client has no way to do it, see "What clients lack". Blank: the scenario is another client's own.
"""

SIGNS = {PASSED: "ok", LACKING: "–", FAILED: "**fails**", NOT_IN_BROKER: "–"}


def version(client):
    try:
        return client.version()
    except Missing:
        return "not installed"


def write(path, clients, names, results):
    """The page, for these clients and scenarios, from the results of a whole run."""
    cells = {(result.suite, result.name): result for result in results}
    lines = [HEADING, "## Clients", "", "| client | version | passed |", "| --- | --- | --- |"]
    for client in clients:
        own = [result for result in results if result.suite == client.name]
        lacking = sum(result.status == LACKING for result in own)
        passed = sum(result.status == PASSED for result in own)
        lines.append(f"| {client.name} | {version(client)} | {passed} of {len(own) - lacking} |")
    lines += ["", "## Scenarios", ""]
    lines.append("| | " + " | ".join(client.name for client in clients) + " |")
    lines.append("| --- |" + " --- |" * len(clients))
    for name in names:
        found = [cells.get((client.name, name)) for client in clients]
        signs = [SIGNS[result.status] if result else "" for result in found]
        lines.append(f"| `{name}` | " + " | ".join(signs) + " |")
    lines += ["", "## What clients lack", ""]
    for client in clients:
        lacks = [result for result in results if result.suite == client.name and result.status == LACKING]
        if lacks:
            lines.append(f"- **{client.name}**")
        lines += [f"  - `{result.name}`: {result.message}" for result in lacks]
    lines += ["", "## What RabbitMQ 3.10.8 lacks", ""]
    lines += [f"- `{name}`: {reason}" for name, reason in NOT_IN_RABBITMQ.items()]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
