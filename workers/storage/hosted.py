"""Files that some host serves over HTTP, which are only read from: ``Readable`` of the contract.

Rules this module keeps:

- Hosts are asked as pulls ask them: by checked addresses, in their turn, with redirects followed by
  hand (see ``workers.pull.web``).
- What a file's size is, is asked by a range of one byte: a HEAD was seen to leave it out.
"""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from types import TracebackType
from typing import Self
from urllib.parse import quote

from fleet.messages import Source
from fleet.settings import SiteSettings
from workers.lease import Lease
from workers.pull.answers import Body, Part, Wanted, judge
from workers.pull.faults import Fault, Passing, Refused
from workers.pull.pace import Pace
from workers.pull.web import Answer, Web
from workers.pull.web.addresses import check_url, host_of
from workers.storage.contract import (
    BLOCK,
    Absent,
    Denied,
    StorageError,
    Stored,
    checked,
)

_GONE = frozenset({404, 410})
_NOTHING_THERE = 416


class Hosted:
    """The files below a URL; use it as a context manager."""

    def __init__(self, url: str, settings: SiteSettings, lease: Lease | None = None) -> None:
        self._url = url.rstrip("/")
        self._host = host_of(check_url(self._url))
        self._web = Web(settings)
        self._pace = Pace(lease or Lease())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        """Let go of all connections."""
        self._web.cut()

    def stat(self, path: str) -> Stored | None:
        """Tell of the file at a path; None where there is none."""
        part = Part(end=1)
        try:
            with self._asked(checked(path), part) as (answer, found):
                size = found.size if found is not None else 0
                if size is None:
                    raise StorageError(f"{path}: {self._host} does not say how large it is")
                return Stored(path, size, tag=answer.headers.get("etag", "").strip('"'))
        except Absent:
            return None

    def read(self, path: str, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        """Read a file, or a part of it."""
        path = checked(path)
        if length == 0:
            return
        part = Part(good=start, end=None if length is None else start + length)
        with self._asked(path, part) as (answer, found):
            if found is None:
                return
            skip, left = start - found.start, length
            buffer = bytearray(BLOCK)
            view = memoryview(buffer)
            while left is None or left > 0:
                try:
                    count = answer.readinto(view[: self._pace.take(self._host, BLOCK)])
                except OSError as error:
                    raise StorageError(f"{path} broke off: {error}") from error
                if not count:
                    break
                block = bytes(buffer[min(skip, count) : count])
                skip -= min(skip, count)
                block = block if left is None else block[:left]
                left = None if left is None else left - len(block)
                if block:
                    yield block

    @contextmanager
    def _asked(self, path: str, part: Part) -> Iterator[tuple[Answer, Body | None]]:
        """Ask for a part of a file; None where there is nothing after its beginning.

        Raises:
            Absent: there is none.
            StorageError: the host gives none.
        """
        source = Source(url=f"{self._url}/{quote(path)}")
        wanted = Wanted(self._host, path, None, 0, proven=True)
        try:
            self._pace.request(self._host)
            with (
                self._pace.stream(self._host),
                closing(self._web.get(source, part.headers(), self._pace.request)) as answer,
            ):
                if answer.status in _GONE:
                    raise Absent(f"{path} is not there")
                if answer.status == _NOTHING_THERE:
                    yield answer, None
                else:
                    yield answer, judge(answer.status, answer.headers, wanted, part)
        except Passing as fault:
            raise StorageError(str(fault), fault.wait) from fault
        except Refused as fault:
            raise Denied(str(fault)) from fault
        except Fault as fault:
            raise StorageError(str(fault)) from fault
