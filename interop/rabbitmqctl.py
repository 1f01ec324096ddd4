"""rabbitmqctl without its start: one Erlang machine runs command after command.

The program of the package is an archive of modules that starts a machine for every command, which
takes longer than most scripts do. Here the same modules stay loaded.
"""

import os
import pathlib
import subprocess
import threading
import zipfile

COMMAND_TIMEOUT_S = 60
END_OF_COMMAND = "@@ exit "

# Reads commands as Erlang terms, each a list of binaries. A command ends its process with its exit code.
_LOOP = """
    application:load(rabbitmqctl),
    {ok, _} = application:ensure_all_started(elixir),
    Run = fun(Arguments) ->
        {Process, Monitor} = spawn_monitor('Elixir.RabbitMQCtl', main, [Arguments]),
        receive {'DOWN', Monitor, process, Process, {shutdown, Code}} -> Code;
                {'DOWN', Monitor, process, Process, Reason} -> io:format("~p~n", [Reason]), 1
        end
    end,
    Loop = fun Loop() ->
        case io:read("") of
            {ok, Arguments} -> io:format("~n@@ exit ~b~n", [Run(Arguments)]), Loop();
            eof -> halt()
        end
    end,
    Loop().
"""


class RabbitMQCtl:
    """`environment` is that of the node, `directory` a place for the modules."""

    def __init__(self, environment, directory):
        unpack(directory)
        command = ["erl", "+B", "-noshell", "-hidden", "-pa", directory, "-eval", " ".join(_LOOP.split()), "-extra", "rabbitmqctl"]
        self._node = environment["RABBITMQ_NODENAME"]
        self._process = subprocess.Popen(
            command,
            env=environment | {"ERL_LIBS": f"{installation()}/plugins"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, arguments):
        """The command's exit code and its output."""
        everything = ["-n", self._node, "--quiet", *arguments]
        self._process.stdin.write("[" + ",".join(binary(argument) for argument in everything) + "].\n")
        self._process.stdin.flush()
        watchdog = threading.Timer(COMMAND_TIMEOUT_S, self._process.kill)
        watchdog.start()
        output = []
        try:
            for line in self._process.stdout:
                if line.startswith(END_OF_COMMAND):
                    return int(line.removeprefix(END_OF_COMMAND)), "".join(output).strip()
                output.append(line)
        finally:
            watchdog.cancel()
        raise RuntimeError(f"rabbitmqctl ended in {' '.join(arguments)}: {''.join(output)}")

    def stop(self):
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()
        self._process.stdin.close()


def binary(text):
    """An Erlang binary of any text."""
    return "<<" + ",".join(str(byte) for byte in text.encode()) + ">>"


def unpack(directory):
    if not os.path.isdir(directory):
        with zipfile.ZipFile(installation() / "escript" / "rabbitmqctl") as archive:
            archive.extractall(directory)


def installation():
    """The directory of the RabbitMQ that is installed."""
    found = sorted(pathlib.Path("/usr/lib/rabbitmq/lib").glob("rabbitmq_server-*"))
    if not found:
        raise FileNotFoundError("no rabbitmq_server in /usr/lib/rabbitmq/lib")
    return found[-1]
