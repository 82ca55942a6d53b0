"""What mirrors of the catalogue offer, as bytes: over http and https, or from a folder.

Nothing that comes from here is trusted; the client checks it.  Rules this module keeps:

- An answer is bounded in bytes by what was signed for it, and in time: it has half a minute, and
  then as long as its bytes take at 16 kB/s.
- Of a folder only plain files are read.
- Only addresses that may be asked are connected to.  Redirects are followed by hand, at most five,
  to http and https alone, and never from https to http.
- No proxy, netrc or other setting of the environment is read, and nothing is sent that is secret.
"""

import os
import stat
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote, unquote, urljoin, urlsplit
from urllib.request import url2pathname

import httpcore
import httpx
from tuf.api.exceptions import DownloadError, DownloadHTTPError, SlowRetrievalError
from tuf.api.metadata import TargetFile
from tuf.ngclient import FetcherInterface

from fleet.catalogue.signing.folder import MAX_METADATA
from fleet.guard import ForbiddenAddressError, Guard, TooLateError
from fleet.planning.addresses import Network

MAX_HOPS = 5
GRACE = 30.0  # seconds
FLOOR = 16_000  # bytes a second

SILENCE = 15.0
_BLOCK = 256 * 1024
_REDIRECTS = {301, 302, 303, 307, 308}
_WEB = ("http", "https")


class MirrorError(ValueError):
    """What was given as a mirror is none."""


@dataclass(frozen=True, slots=True)
class Mirror:
    """Where a copy of the repository folder is, or of one state: a URL that ends in a slash.

    Attributes:
        name: as it was given.
        base: the URL.
    """

    name: str
    base: str

    @classmethod
    def at(cls, given: str) -> "Mirror":
        """Read a mirror from what a person writes: a URL, or the path of a folder.

        Raises:
            MirrorError: it is neither.
        """
        if "://" not in given:
            return cls(given, Path(given).absolute().as_uri() + "/")
        try:
            parts = urlsplit(given)
        except ValueError as error:
            raise MirrorError(f"{given!r} is no mirror: {error}") from None
        if parts.scheme not in _WEB or not parts.hostname:
            raise MirrorError(f"{given!r} is no mirror: give an http or https URL, or a folder")
        if "@" in parts.netloc or parts.query or parts.fragment:
            raise MirrorError(f"{parts.hostname}: a mirror's URL has no user, password or query")
        try:
            port = parts.port
        except ValueError:
            port = 0
        if port == 0:
            raise MirrorError(f"{parts.hostname}: the port is no number from 1 to 65535")
        return cls(given, given if given.endswith("/") else f"{given}/")

    @property
    def metadata(self) -> str:
        """Where what is signed lies."""
        return f"{self.base}metadata/"

    def places(self, target: TargetFile) -> tuple[str, str]:
        """Return where a file lies: by its digest, or by its name where only one state is."""
        fixed = target.get_prefixed_paths()[0]
        return f"{self.base}targets/{quote(fixed)}", f"{self.base}{quote(target.path)}"


class Fetcher(FetcherInterface):
    """Reads from mirrors; use it as a context manager."""

    def __init__(self, agent: str, allowed: Sequence[Network]) -> None:
        """Ask as ``agent``, and only public addresses and those of ``allowed`` networks."""
        self._guard = Guard(allowed, time.monotonic())
        self._pool = httpcore.ConnectionPool(
            ssl_context=httpx.create_ssl_context(trust_env=False), network_backend=self._guard
        )
        self._headers = [
            (b"User-Agent", agent.encode("ascii", "replace")),
            (b"Accept-Encoding", b"identity"),
        ]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._pool.close()

    def download_bytes(self, url: str, max_length: int) -> bytes:
        """Read metadata, however long it is said to be within what metadata may be."""
        return super().download_bytes(url, min(max_length, MAX_METADATA))

    def _fetch(self, url: str) -> Iterator[bytes]:
        try:
            yield from _file(url) if url.startswith("file:") else self._answer(url)
        except ForbiddenAddressError as error:
            raise DownloadError(str(error)) from None
        except (TooLateError, httpcore.TimeoutException):
            raise SlowRetrievalError("it is too slow") from None
        except (OSError, httpcore.NetworkError, httpcore.ProtocolError, ValueError) as error:
            raise DownloadError(f"it cannot be read ({error or type(error).__name__})") from None

    def _answer(self, url: str) -> Iterator[bytes]:
        began = time.monotonic()
        self._guard.until = began + GRACE
        limits = {"connect": SILENCE, "read": SILENCE, "write": SILENCE, "pool": SILENCE}
        for _ in range(MAX_HOPS + 1):
            with self._pool.stream(
                "GET", url, headers=self._headers, extensions={"timeout": limits}
            ) as answer:
                location = _field(answer, b"location")
                if answer.status in _REDIRECTS and location:
                    url = hop(url, location)
                    continue
                if answer.status != 200:
                    raise DownloadHTTPError(
                        f"it answers {answer.status} for {_name(url)}", answer.status
                    )
                if _field(answer, b"content-encoding") not in {"", "identity"}:
                    raise DownloadError("it answers in an encoding that was not asked for")
                for block in answer.iter_stream():
                    self._guard.until += len(block) / FLOOR
                    yield block
                return
        raise DownloadError(f"it redirects more than {MAX_HOPS} times")


def _name(url: str) -> str:
    """Name a file of the repository folder."""
    return "/".join(unquote(urlsplit(url).path).split("/")[-2:])


def hop(url: str, location: str) -> str:
    """Return where a redirect leads.

    Raises:
        DownloadError: nobody may be led there.
    """
    found = urljoin(url, location)
    parts = urlsplit(found)
    if parts.scheme not in _WEB or not parts.hostname or "@" in parts.netloc:
        raise DownloadError("it redirects to what is no http or https URL")
    if urlsplit(url).scheme == "https" and parts.scheme != "https":
        raise DownloadError(f"it redirects from https to plain http at {parts.hostname}")
    return found


def _field(answer: httpcore.Response, name: bytes) -> str:
    return next(
        (value.decode("latin-1") for key, value in answer.headers if key.lower() == name), ""
    )


def _file(url: str) -> Iterator[bytes]:
    """Read a file of this machine."""
    path = Path(url2pathname(urlsplit(url).path))
    try:
        with open(path, "rb", opener=_opener) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise DownloadError(f"its {_name(url)} is no plain file")
            while block := file.read(_BLOCK):
                yield block
    except (FileNotFoundError, NotADirectoryError):
        raise DownloadHTTPError(f"it has no {_name(url)}", 404) from None


def _opener(path: str, flags: int) -> int:
    """Open without waiting for whoever might write into a pipe."""
    return os.open(path, flags | os.O_NONBLOCK)
