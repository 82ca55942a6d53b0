"""Asking a site's seeder something over its control socket."""

import json
import socket
from typing import Any, Final

from fleet.settings import SiteSettings
from workers.seeder.control import socket_path

NUDGE_SECONDS: Final = 60.0
STATUS_SECONDS: Final = 10.0


def nudge(settings: SiteSettings) -> dict[str, Any]:
    """Let the seeder poll the centre now, and wait until it has applied the answer.

    Returns:
        ``{"ok": True, "seeding": <count>}``, or ``{"ok": False, "error": <reason>}`` when there is
        no seeder or it cannot reach the centre; it never raises, because a nudge that fails only
        means waiting for the next poll.
    """
    return _ask(settings, "sync", NUDGE_SECONDS)


def status(settings: SiteSettings) -> dict[str, Any]:
    """Ask what is seeded, and on which ports; a failure is told as by ``nudge``."""
    return _ask(settings, "status", STATUS_SECONDS)


def _ask(settings: SiteSettings, what: str, seconds: float) -> dict[str, Any]:
    try:
        path = socket_path(settings)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
            link.settimeout(seconds)
            link.connect(str(path))
            link.sendall(json.dumps({"do": what}).encode() + b"\n")
            with link.makefile("rb") as lines:
                line = lines.readline()
            if not line:
                raise ConnectionError("it ended meanwhile")
            answer: dict[str, Any] = json.loads(line)
            return answer
    except (OSError, ValueError) as error:
        reason = f"the seeder of {settings.site} does not answer: {error or type(error).__name__}"
        return {"ok": False, "error": reason}
