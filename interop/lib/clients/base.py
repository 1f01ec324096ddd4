"""The clients: what each needs on the machine, how its packages are installed, how it is started."""

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys

from .paths import CACHE, INTEROP, shown


class Missing(Exception):
    """A tool that a client needs is not on this machine; the message says how to install it."""


class InstallFailed(Exception):
    """A client's packages could not be installed or built."""


def need(tool, hint):
    if shutil.which(tool) is None:
        raise Missing(f"{tool} is not installed; {hint}")


def run_tool(client, command, **options):
    outcome = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, **options)
    if outcome.returncode != 0:
        output = (outcome.stdout + outcome.stderr).strip()
        raise InstallFailed(f"{client}: {' '.join(map(str, command))} failed:\n{output}")


class Client:
    """A folder of interop with its pinned packages, installed once for each version of its inputs."""

    name = None
    inputs = ()

    def __init__(self):
        self.folder = INTEROP / self.name
        self.installed = CACHE / self.name

    def check_tools(self):
        raise NotImplementedError

    def install_packages(self):
        raise NotImplementedError

    def command(self, scenarios):
        raise NotImplementedError

    def tutorial_command(self, program):
        raise NotImplementedError

    def environment(self):
        return {}

    def prepare(self):
        self.check_tools()
        stamp = self.installed / "inputs.sha256"
        digest = self._digest()
        if stamp.exists() and stamp.read_text() == digest:
            return
        print(f"installing {self.name} into {shown(self.installed)}", flush=True)
        shutil.rmtree(self.installed, ignore_errors=True)
        self.installed.mkdir(parents=True)
        self.install_packages()
        stamp.write_text(digest)

    def _digest(self):
        content = hashlib.sha256()
        for pattern in self.inputs:
            for path in sorted(self.folder.glob(pattern)):
                content.update(path.read_bytes())
        return content.hexdigest()


class Pika(Client):
    name = "pika"
    inputs = ("requirements.txt",)

    def check_tools(self):
        # Debian ships venv without ensurepip, which it needs.
        if not all(importlib.util.find_spec(module) for module in ("venv", "ensurepip")):
            raise Missing("Python's venv is not installed; apt-get install python3-venv")

    def install_packages(self):
        run_tool(self.name, [sys.executable, "-m", "venv", self.installed / "venv"])
        requirements = self.folder / "requirements.txt"
        run_tool(self.name, [self._python(), "-m", "pip", "install", "--quiet", "--requirement", requirements])

    def command(self, scenarios):
        return [self._python(), self.folder / "run.py", *scenarios]

    def tutorial_command(self, program):
        return [self._python(), INTEROP / "tutorials" / self.name / f"{program}.py"]

    def environment(self):
        return {"PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1"}

    def _python(self):
        return self.installed / "venv" / "bin" / "python"


class Amqplib(Client):
    name = "amqplib"
    inputs = ("package.json", "package-lock.json")

    def check_tools(self):
        hint = "apt-get install nodejs npm, or https://nodejs.org (version 18 or later)"
        need("node", hint)
        need("npm", hint)

    def install_packages(self):
        for name in self.inputs:
            shutil.copy(self.folder / name, self.installed)
        run_tool(self.name, ["npm", "ci", "--no-audit", "--no-fund"], cwd=self.installed)

    def command(self, scenarios):
        return ["node", self.folder / "run.js", *scenarios]

    def tutorial_command(self, program):
        return ["node", INTEROP / "tutorials" / self.name / f"{program}.js"]

    def environment(self):
        return {"NODE_PATH": str(self.installed / "node_modules")}


class Java(Client):
    name = "java"
    inputs = ("pom.xml", "src/**/*.java")

    def check_tools(self):
        need("javac", "apt-get install default-jdk (17 or later)")
        need("java", "apt-get install default-jdk (17 or later)")
        need("mvn", "apt-get install maven")

    def install_packages(self):
        goals = ["compiler:compile", "dependency:copy-dependencies"]
        pom = self.folder / "pom.xml"
        options = ["--quiet", "--batch-mode", f"--file={pom}", f"-Dbuild.folder={self.installed}"]
        run_tool(self.name, ["mvn", *options, *goals])

    def command(self, scenarios):
        path = os.pathsep.join([str(self.installed / "classes"), str(self.installed / "dependency" / "*")])
        return ["java", "-Xmx512m", "-cp", path, "interop.Main", *scenarios]


CLIENTS = {client.name: client for client in (Pika(), Amqplib(), Java())}
TUTORIAL_CLIENTS = [CLIENTS["pika"], CLIENTS["amqplib"]]
