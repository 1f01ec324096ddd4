"""Where things are, in the repository and in the runner's own git-ignored folder."""

import os
from pathlib import Path

INTEROP = Path(__file__).resolve().parent.parent
REPOSITORY = INTEROP.parent
CACHE = INTEROP / ".cache"
LOG = CACHE / "log"
JUNIT = CACHE / "junit.xml"
DOCUMENT = REPOSITORY / "docs" / "interop.md"
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", "target"))


def shown(path):
    """A path as a person in the repository would type it."""
    return os.path.relpath(path)
