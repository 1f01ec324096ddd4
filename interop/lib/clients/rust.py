"""Clients from crates.io."""

import re
import shutil

from ..paths import CACHE
from .base import Client, need, run_tool

# Shared, so that what the clients have in common is compiled once.
BUILD = CACHE / "rust"


class RustClient(Client):
    inputs = ("Cargo.*", "src/**/*.rs", "../rust-harness/Cargo.toml", "../rust-harness/src/*.rs")

    def version(self):
        manifest = (self.folder / "Cargo.toml").read_text()
        dependency = rf'^{self.name} = .*?version = "=([^"]+)"'
        return f"{self.name} {re.search(dependency, manifest, re.MULTILINE)[1]}"

    def check_tools(self):
        need("cargo", "install Rust as https://rustup.rs says (1.91 or later, as Leveret)")

    def install_packages(self):
        manifest = self.folder / "Cargo.toml"
        run_tool(
            self.name,
            ["cargo", "build", "--quiet", "--locked", f"--manifest-path={manifest}", f"--target-dir={BUILD}"],
        )
        shutil.copy2(BUILD / "debug" / self._program, self.installed)

    def command(self, scenarios):
        return [self.installed / self._program, *scenarios]

    @property
    def _program(self):
        return f"interop-{self.name}"


class Lapin(RustClient):
    name = "lapin"


class Amqprs(RustClient):
    name = "amqprs"


CLIENTS = (Lapin(), Amqprs())
