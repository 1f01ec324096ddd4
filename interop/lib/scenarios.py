"""The list of scenarios, read from the tables of README.md so that words and runs cannot differ."""

import re

from .paths import INTEROP

LAST = "graceful_shutdown"
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
