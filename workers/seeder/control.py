"""The seeder's control socket: one JSON object a line, asked and answered.

``{"do": "sync"}`` polls the centre and answers once that has been applied; ``{"do": "status"}``
tells what is seeded, on which ports.  Every answer has ``ok``; one that is not says ``error``.
The socket is for the site's own user only.
"""

import asyncio
import json
import os
import socket
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final

from fleet.settings import SiteSettings

MAX_PATH: Final = 107
"""Most bytes in the path of a Unix socket (sun_path, less its final zero)."""
MAX_LINE: Final = 64 * 1024

Answer = dict[str, Any]
Command = Callable[[], Awaitable[Answer]]


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


async def answer(listener: socket.socket, commands: Mapping[str, Command]) -> None:
    """Answer ``commands`` to whoever connects, until cancelled."""
    async with asyncio.TaskGroup() as links:

        def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            links.create_task(_serve(reader, writer, commands))

        server = await asyncio.start_unix_server(connected, sock=listener, limit=MAX_LINE)
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            server.close()


async def _serve(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, commands: Mapping[str, Command]
) -> None:
    try:
        while line := await reader.readline():
            writer.write(json.dumps(await _reply(line, commands)).encode() + b"\n")
            await writer.drain()
    except (ConnectionError, ValueError):
        # the client has gone, or sent a line without end
        pass
    finally:
        writer.close()


async def _reply(line: bytes, commands: Mapping[str, Command]) -> Answer:
    try:
        asked = json.loads(line)
    except (ValueError, RecursionError):
        asked = None
    command = commands.get(str(asked.get("do"))) if isinstance(asked, dict) else None
    if command is None:
        known = ", ".join(f'{{"do": "{name}"}}' for name in commands)
        return {"ok": False, "error": f"ask one of {known}"}
    return await command()
