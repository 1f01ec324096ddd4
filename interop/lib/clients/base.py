"""What is common to the clients: tools that have to be there, packages that are installed once, commands."""

import hashlib
import shutil
import subprocess
import threading

from ..paths import CACHE, INTEROP, shown


class Missing(Exception):
    """A tool that a client needs is not on this machine; the message says how to install it."""


class InstallFailed(Exception):
    """A client's packages could not be installed or built."""


def need(tool, hint):
    if shutil.which(tool) is None:
        raise Missing(f"{tool} is not installed; {hint}")


def run_tool(client, command, **options):
    """Runs a tool to its end and returns what it printed."""
    outcome = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, **options)
    if outcome.returncode != 0:
        output = (outcome.stdout + outcome.stderr).strip()
        raise InstallFailed(f"{client}: {' '.join(map(str, command))} failed:\n{output}")
    return outcome.stdout


def debian_package(name):
    """The version of an installed Debian package, without Debian's own part of it."""
    asked = subprocess.run(["dpkg-query", "-W", "-f=${Version}", name], capture_output=True, text=True)
    if asked.returncode != 0 or not asked.stdout:
        raise Missing(f"{name} is not installed; apt-get install {name}")
    return asked.stdout.rpartition("-")[0].partition("+")[0].rpartition(":")[2]


class Client:
    """A folder of interop with its pinned packages, installed once for each version of its inputs."""

    name = None
    # The files, as patterns in the folder, on which what is installed depends.
    inputs = ()
    # How the names of its programs end.
    suffix = ""
    # Whether interop/tutorials has programs for it.
    has_tutorials = False
    # Whether it plays the scenarios that are named after it and no others.
    only_own_scenarios = False

    def __init__(self):
        self.folder = INTEROP / self.name
        self.installed = CACHE / self.name
        # Held while it is prepared: scenarios and tutorials of a client may start at the same time.
        self.preparing = threading.Lock()

    def version(self):
        """Name and version of the client library, as in `pika 1.3.2`."""
        raise NotImplementedError

    def check_tools(self):
        """Raises `Missing` for a tool that is not there."""
        raise NotImplementedError

    def install_packages(self):
        """Puts packages and built programs into `self.installed`, which is there and empty."""
        raise NotImplementedError

    def command(self, scenarios):
        """The command that plays these scenarios."""
        raise NotImplementedError

    def run_file(self, path):
        """The command of a program in a file, for languages that run files as they are."""
        raise NotImplementedError

    def tutorial_command(self, program):
        """The command of a program of interop/tutorials, without its arguments."""
        return self.run_file(INTEROP / "tutorials" / self.name / f"{program}{self.suffix}")

    def environment(self):
        """What the commands need in their environment."""
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
