"""The scripts, by topic. A script is a function of a session; its name is its function's name."""

SCRIPTS = {}
# Scripts that mostly wait for the broker to drop connections, which takes it seconds. They
# leave nothing behind in the broker, so they can run side by side.
WAITING_SCRIPTS = set()
# Scripts that call `ctl` of their session, which runs rabbitmqctl or leveret ctl.
CTL_SCRIPTS = set()


def script(function):
    """Register a script; its docstring says what rule it looks at."""
    if function.__name__ in SCRIPTS:
        raise ValueError(f"two scripts are called {function.__name__}")
    SCRIPTS[function.__name__] = function
    return function


def waiting_script(function):
    WAITING_SCRIPTS.add(function.__name__)
    return script(function)


def ctl_script(function):
    CTL_SCRIPTS.add(function.__name__)
    return script(function)


# Imported for their registrations, after `script` is there.
from . import (  # noqa: E402,F401
    handshake,
    frames,
    channels,
    exchanges,
    exchange_types,
    queues,
    queue_arguments,
    publishing,
    consuming,
    settling,
    confirms,
    reply_to,
    routing,
    lifecycle,
    dead_letters,
    dead_letter_cycles,
    deaths,
    ttl,
    limits,
    quorum,
    quorum_limits,
    priorities,
    single_active,
    expires,
    permissions,
    policies,
    combinations,
)
