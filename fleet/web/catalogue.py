"""The catalogue as files: what clients sync, query and browse, straight from its folder.

Rules this module keeps:

- Only whole files below the folder are served: nothing hidden, nothing that is being written.
- An answer is of one file from its first byte to its last, though another takes its place
  meanwhile.
- What never changes under its name may be kept for ever; what says which state holds is asked for
  each time; all else is asked for again after a minute.
"""

import os
import re
import stat
from pathlib import Path
from typing import BinaryIO

from fastapi import APIRouter, Request, Response
from fastapi.responses import FileResponse
from starlette.types import Receive, Scope, Send

from fleet.catalogue.whole import PART
from fleet.control.errors import NotFoundError
from fleet.importers.media import media_type
from fleet.web.access import SettingsDep

router = APIRouter(include_in_schema=False)
_FOR_EVER, _EACH_TIME = "public, max-age=31536000, immutable", "no-cache"
_SHORTLY = "public, max-age=60, must-revalidate"
_FIXED = re.compile(r"targets/(?:.+/)?[0-9a-f]{64}\.[^/]+|metadata/\d+\.[a-z]+\.json")
_OPEN = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Expose-Headers": "Accept-Ranges, Content-Range, ETag",
    "X-Content-Type-Options": "nosniff",
}


class _Held(FileResponse):
    """A file that was opened, by whatever name it goes now."""

    def __init__(self, file: BinaryIO, found: os.stat_result, headers: dict[str, str]) -> None:
        super().__init__(
            f"/proc/self/fd/{file.fileno()}",
            headers=headers,
            media_type=headers["Content-Type"],
            stat_result=found,
        )
        self._file = file

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._file:
            await super().__call__(scope, receive, send)


@router.api_route("/catalogue/{path:path}", methods=["GET", "HEAD"])
def catalogue(path: str, request: Request, settings: SettingsDep) -> Response:
    """Serve a file of the catalogue."""
    file = _opened(settings.catalogue, path)
    found = os.fstat(file.fileno())
    headers = _OPEN | {
        "Cache-Control": _caching(path),
        "Content-Type": _type(path),
        "ETag": f'"{found.st_mtime_ns:x}-{found.st_size:x}-{found.st_ino:x}"',
    }
    if _is_known(request.headers.get("if-none-match", ""), headers["ETag"]):
        file.close()
        return Response(status_code=304, headers=headers)
    return _Held(file, found, headers)


def _opened(root: Path, path: str) -> BinaryIO:
    """Open a file of the catalogue.

    Raises:
        NotFoundError: there is none of that name, or it is none that is served.
    """
    refused = NotFoundError("the catalogue has no such file")
    parts = path.split("/")
    if "\0" in path or any(not one or one[0] == "." or one.endswith(PART) for one in parts):
        raise refused
    try:
        place = root.joinpath(*parts).resolve(strict=True)
        if not place.is_relative_to(root.resolve()) or not place.is_file():
            raise refused
        file = place.open("rb")
    except OSError:
        raise refused from None
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise refused
    return file


def _caching(path: str) -> str:
    if _FIXED.fullmatch(path):
        return _FOR_EVER
    return _EACH_TIME if path.startswith("metadata/") else _SHORTLY


def _type(path: str) -> str:
    if path.endswith("/item.json"):
        return "application/geo+json"
    return media_type(path) or "application/octet-stream"


def _is_known(asked: str, etag: str) -> bool:
    known = {one.strip().removeprefix("W/") for one in asked.split(",")}
    return etag in known or "*" in known
