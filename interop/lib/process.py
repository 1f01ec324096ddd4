"""A child process whose output is read line by line, each wait bounded."""

import queue
import signal
import subprocess
import threading

END_TIMEOUT_S = 10


class Silent(Exception):
    """Nothing was printed in time."""


class Ended(Exception):
    """No more output can be had."""


class LineProcess:
    def __init__(self, command, environment, log_path):
        self._lines = queue.Queue()
        with open(log_path, "ab") as log:
            self._process = subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                encoding="utf-8",
                errors="replace",
            )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self):
        return self

    def __exit__(self, *failure):
        self.kill()

    def _read(self):
        for line in self._process.stdout:
            self._lines.put(line.rstrip("\n"))
        self._lines.put(None)

    def next_line(self, timeout_s):
        try:
            line = self._lines.get(timeout=timeout_s)
        except queue.Empty:
            raise Silent(f"printed nothing for {timeout_s:.0f} s") from None
        if line is None:
            self._lines.put(None)
            raise Ended(f"ended with status {self.wait()}")
        return line

    def write(self, text):
        self._process.stdin.write(text)
        self._process.stdin.flush()

    def wait(self):
        try:
            return self._process.wait(END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            raise Silent(f"has not ended after {END_TIMEOUT_S} s") from None

    def interrupt(self):
        """What Ctrl-C does."""
        self._process.send_signal(signal.SIGINT)
        return self.wait()

    def kill(self):
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._reader.join()
        self._process.stdout.close()
        self._process.stdin.close()
