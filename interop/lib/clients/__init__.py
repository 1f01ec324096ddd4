"""The clients: what each needs on the machine, how its packages are installed, how it is started."""

from . import c, erlang, go, java, node, perl, php, python, ruby, rust
from .base import InstallFailed, Missing

_LANGUAGES = (python, node, java, go, ruby, php, c, rust, erlang, perl)

CLIENTS = {client.name: client for language in _LANGUAGES for client in language.CLIENTS}
TUTORIAL_CLIENTS = [client for client in CLIENTS.values() if client.has_tutorials]

__all__ = ["CLIENTS", "TUTORIAL_CLIENTS", "InstallFailed", "Missing"]
