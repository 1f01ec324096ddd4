"""Clients from PyPI, each in a virtual environment of its own."""

import importlib.util
import sys

from ..paths import INTEROP
from .base import Client, Missing, run_tool


class PythonClient(Client):
    suffix = ".py"
    inputs = ("requirements.txt",)
    # The oldest Python that the client takes.
    oldest = (3, 9)

    def version(self):
        first = (self.folder / "requirements.txt").read_text().splitlines()[0]
        return first.replace("==", " ")

    def check_tools(self):
        if sys.version_info < self.oldest:
            raise Missing(f"{self.name} needs Python {'.'.join(map(str, self.oldest))} or later; start interop/run with one")
        # Debian ships venv without ensurepip, which it needs.
        if not all(importlib.util.find_spec(module) for module in ("venv", "ensurepip")):
            raise Missing("Python's venv is not installed; apt-get install python3-venv")

    def install_packages(self):
        run_tool(self.name, [sys.executable, "-m", "venv", self.installed / "venv"])
        requirements = self.folder / "requirements.txt"
        run_tool(self.name, [self._python(), "-m", "pip", "install", "--quiet", "--requirement", requirements])

    def run_file(self, path):
        return [self._python(), path]

    def command(self, scenarios):
        return [*self.run_file(self.folder / "run.py"), *scenarios]

    def environment(self):
        shared = INTEROP / "lib" / "python"
        return {"PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(shared)}

    def _python(self):
        return self.installed / "venv" / "bin" / "python"


class Pika(PythonClient):
    name = "pika"
    has_tutorials = True


class AioPika(PythonClient):
    name = "aio-pika"
    oldest = (3, 11)


class Kombu(PythonClient):
    name = "kombu"
    oldest = (3, 10)


class Celery(PythonClient):
    name = "celery"
    oldest = (3, 10)
    only_own_scenarios = True


CLIENTS = (Pika(), AioPika(), Kombu(), Celery())
