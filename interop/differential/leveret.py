"""Build Leveret and run it on a free loopback port."""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "interop"))

from rabbitmq import ServerProcess  # noqa: E402

START_TIMEOUT_S = 30
LISTENING = re.compile(r"started TCP listener on (127\.0\.0\.1:\d+)")


class Leveret:
    """A broker with a temporary data directory; gone without trace after `stop`."""

    def __init__(self):
        self.address = None
        self._binary = None
        self._directory = None
        self._server = None

    def __enter__(self):
        self._binary = build()
        self._directory = tempfile.mkdtemp(prefix="leveret-data-")
        try:
            command = [self._binary, "--listen", "127.0.0.1:0", "--data-dir", self._directory]
            self._server = ServerProcess("leveret", command)
            self._server.wait_for_line("Server startup complete", START_TIMEOUT_S)
            listening = self._server.wait_for_line("started TCP listener on 127.0.0.1:", START_TIMEOUT_S)
            self.address = LISTENING.search(listening).group(1)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exception):
        if self._server is not None:
            self._server.stop()
        shutil.rmtree(self._directory, ignore_errors=True)

    def ctl(self, *arguments):
        """Run `leveret ctl` with these arguments; its exit code and what it printed."""
        command = [self._binary, "ctl", "--data-dir", self._directory, *arguments]
        done = subprocess.run(command, capture_output=True, text=True)
        return done.returncode, (done.stdout + done.stderr).strip()


def build():
    """Path of the release binary, built from the sources as they are."""
    subprocess.run(["cargo", "build", "--release", "--quiet"], cwd=REPOSITORY, check=True)
    target = os.environ.get("CARGO_TARGET_DIR", "target")
    return str(REPOSITORY / target / "release" / "leveret")
