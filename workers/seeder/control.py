"""The seeder's control socket: one JSON object a line, asked and answered.

``{"do": "sync"}`` polls the centre and answers once that has been applied; ``{"do": "status"}``
tells what is seeded, on which ports.  Every answer has ``ok``; one that is not says ``error``.
The socket is for the site's own user only.

``{"do": "fetch"}`` and ``{"do": "mend"}`` (see ``fetches`` and ``mending``) are *talks*: answers
come until it is done, and what the client says meanwhile are its wishes.  A talk lasts as long as
its connection: the client ends it by closing, or by shutting down its side and waiting for the end.
"""

import asyncio
import contextlib
import json
import os
import socket
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final

import structlog

from fleet.settings import SiteSettings

MAX_PATH: Final = 107
"""Most bytes in the path of a Unix socket (sun_path, less its final zero)."""
MAX_LINE: Final = 64 * 1024
TELL_SECONDS: Final = 60.0

_log = structlog.get_logger()

Answer = dict[str, Any]
Command = Callable[[], Awaitable[Answer]]


class Link:
    """The client of a talk.

    Attributes:
        said: what it said last, by key.
        gone: set once it has closed its side.
    """

    def __init__(self, writer: asyncio.StreamWriter, said: Answer) -> None:
        """Talk to whoever began by saying ``said``."""
        self.said = said
        self.gone = asyncio.Event()
        self._writer = writer
        self._stirred = asyncio.Event()

    async def tell(self, answer: Answer) -> None:
        """Tell the client something; one that takes nothing for long is gone."""
        try:
            self._writer.write(json.dumps(answer).encode() + b"\n")
            await asyncio.wait_for(self._writer.drain(), TELL_SECONDS)
        except (ConnectionError, TimeoutError):
            self.gone.set()

    async def wait(self, seconds: float) -> None:
        """Wait until the client says something or goes, but not for longer."""
        self._stirred.clear()
        if not self.gone.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stirred.wait(), seconds)

    async def listen(self, reader: asyncio.StreamReader) -> None:
        """Take in what the client says, until it goes."""
        try:
            while line := await reader.readline():
                self.said |= _read(line) or {}
                self._stirred.set()
        except (ConnectionError, ValueError):
            pass
        finally:
            self.gone.set()
            self._stirred.set()


Talk = Callable[[Link], Awaitable[None]]


def socket_path(settings: SiteSettings) -> Path:
    """Return where the socket of a site's seeder is.

    Raises:
        ValueError: the path is longer than the system takes.
    """
    path = settings.state / "seeder.sock"
    length = len(os.fsencode(path))
    if length > MAX_PATH:
        raise ValueError(
            f"the socket's path {path} has {length} bytes and the system allows {MAX_PATH}: "
            "set FLEET_HOME to a shorter one"
        )
    return path


def bind(path: Path) -> socket.socket:
    """Listen on ``path``, in place of a socket that a killed seeder has left."""
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    # nobody can connect before it listens
    path.chmod(0o600)
    listener.listen()
    return listener


async def answer(
    listener: socket.socket, commands: Mapping[str, Command], talks: Mapping[str, Talk]
) -> None:
    """Answer ``commands`` and hold ``talks`` with whoever connects, until cancelled."""
    async with asyncio.TaskGroup() as links:

        def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            links.create_task(_serve(reader, writer, commands, talks))

        server = await asyncio.start_unix_server(connected, sock=listener, limit=MAX_LINE)
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            server.close()


async def _serve(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    commands: Mapping[str, Command],
    talks: Mapping[str, Talk],
) -> None:
    try:
        while line := await reader.readline():
            asked = _read(line) or {}
            what = str(asked.get("do"))
            if what in talks:
                await _talk(reader, Link(writer, asked), talks[what])
                return
            if what in commands:
                reply = await commands[what]()
            else:
                known = ", ".join(f'{{"do": "{name}"}}' for name in (*commands, *talks))
                reply = {"ok": False, "error": f"ask one of {known}"}
            writer.write(json.dumps(reply).encode() + b"\n")
            await writer.drain()
    except (ConnectionError, ValueError):
        # the client has gone, or sent a line without end
        pass
    finally:
        writer.close()


async def _talk(reader: asyncio.StreamReader, link: Link, talk: Talk) -> None:
    listening = asyncio.create_task(link.listen(reader))
    try:
        await talk(link)
    except Exception as error:  # noqa: BLE001 - one talk's trouble ends no other, nor the seeder
        _log.exception("failed", asked=str(link.said.get("do")))
        reason = f"the seeder failed, see its log: {type(error).__name__}: {error}"
        await link.tell({"ok": False, "error": reason})
    finally:
        listening.cancel()


def _read(line: bytes) -> Answer | None:
    """Read a line; None if it is no JSON object."""
    try:
        asked = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return asked if isinstance(asked, dict) else None
