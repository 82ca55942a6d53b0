"""One draft, or published record, of an InvenioRDM repository under the contract of storages.

Rules this module keeps:

- It holds the files of one folder, a version's: ``DATASET/VERSION/PATH`` is the file ``PATH``.  The
  draft is made, and published, by the centre alone.
- A draft's file that was begun and is not committed was never there: it is gone on with.  One that
  is committed with other bytes stays.  A published record's files are read, and neither written
  nor removed.
- One file is sent at a time: a draft keeps the list of its files in one row, and two who add to it
  at once are not known to be both heard (assumed).
- Drafts are read whole, and by whoever has the token; of a published file ranges are asked for.
"""

import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, BinaryIO, Final
from urllib.parse import urlsplit

from fleet.invenio import (
    Busy,
    Calls,
    Corrupt,
    DraftFiles,
    Patience,
    Refused,
    RepositoryError,
    Unsure,
    Wanted,
)
from fleet.invenio.calls import part
from fleet.invenio.patience import TURNS
from fleet.invenio.reading import published
from fleet.invenio.shapes import Held, record
from fleet.places import RecordsPlace
from fleet.planning.repositories import RecordLimits, unfit
from workers.lease import Lease
from workers.pull.pace import Pace
from workers.storage import contract
from workers.storage.contract import (
    Absent,
    Capabilities,
    Content,
    Denied,
    StorageError,
    Stored,
    Unfit,
    checked,
    md5_of,
    refuse,
    same,
)

LIMITS: Final = RecordLimits()
CAPABILITIES: Final = Capabilities(
    object_most=LIMITS.size, files_most=LIMITS.files, total_most=LIMITS.size, check="md5"
)
PATIENCE: Final = 3600.0
"""Seconds to wait in all: a hundred files are some hundred requests, and a minute has few."""
_NOTHING_THERE: Final = 416
_STEP: Final = 0.2
_RANGE: Final = re.compile(r"bytes (\d+)-")


class Record:
    """The files of the draft or record that a place names."""

    capabilities = CAPABILITIES

    def __init__(
        self,
        place: RecordsPlace,
        token: str,
        agent: str,
        lease: Lease | None = None,
        folder: str = "",
        patience: Patience | None = None,
    ) -> None:
        """Ask nothing yet.

        Args:
            place: which draft or record it is.
            token: may write to drafts.
            agent: what to call ourselves.
            lease: whose budget is used.
            folder: what the paths of all its files begin with.
            patience: how long to wait.
        """
        self._name, self._folder = place.record, f"{folder}/" if folder else ""
        self._lease = lease or Lease()
        self._pace, self._host = Pace(self._lease), urlsplit(place.endpoint).netloc
        self._patience = replace(
            patience or Patience(PATIENCE, sleep=self._pause),
            turn=lambda: self._pace.request(self._host),
            strained=lambda seconds: self._pace.throttled(self._host, seconds),
        )
        self._calls = Calls(place.endpoint, agent, token, self._patience)
        self._draft = DraftFiles(self._calls, place.record)
        self._writing = threading.Lock()
        self._is_published: bool | None = None
        self._files: dict[str, Held] | None = None

    def stat(self, path: str) -> Stored | None:
        """Tell of the file at a path; None where there is none, or it is not committed."""
        found = self._known().get(self._key(path))
        return _stored(path, found) if found else None

    def read(self, path: str, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        """Read a file, or a part of it; what is cut off is gone on with."""
        key, at = self._key(path), start
        end = None if length is None else start + length
        turn, over = 0, length == 0
        while not over:
            try:
                with _told(f"{path} cannot be read"):
                    for block in self._blocks(path, key, at, end):
                        yield block
                        at, turn = at + len(block), 0
                over = True
            except StorageError as error:
                turn += 1
                if error.final or isinstance(error, Absent) or turn == TURNS:
                    raise
                with _told(f"{path} cannot be read"):
                    self._patience.back_off(turn, Unsure(str(error), error.wait))

    def list(self, folder: str = "") -> Iterator[Stored]:
        """Tell of every file below a folder, in the order of their paths."""
        below = f"{checked(folder)}/" if folder else ""
        paths = {self._folder + key: held for key, held in self._known().items()}
        yield from (_stored(one, paths[one]) for one in sorted(paths) if one.startswith(below))

    def write(self, path: str, content: Content, lease: Lease) -> Stored:
        """Send a file to the draft, and have it committed with our md5."""
        key = self._key(path)
        refuse(self.capabilities, path, content)
        wanted = Wanted(key, content.size, md5_of(content, lease))
        content = replace(content, md5=wanted.md5)
        with self._writing, _told(f"{path} cannot be sent"):
            found = self._look(key)
            if not (found and found.size is not None and same(path, _stored(path, found), content)):
                self._refuse(path, wanted)
                lease.check_live()
                self._draft.put(
                    wanted,
                    lambda _: _Paced(content.file.open("rb", buffering=0), self.take, lease),
                    begun=found is not None,
                )
                self._known()[key] = Held(key, wanted.size, wanted.md5)
                lease.advance(content.size)
        return Stored(path, content.size, content.sha256, wanted.md5)

    def remove(self, path: str) -> None:
        """Take a file out of the draft; one that is not there is fine."""
        key = self._key(path)
        with self._writing, _told(f"{path} cannot be removed"):
            if key not in self._known():
                return
            if self._published():
                raise Denied(f"{path} stays: {self._said} is published, and never changes")
            self._draft.remove(key)
            del self._known()[key]

    @property
    def _said(self) -> str:
        return f"record {self._name} of {self._host}"

    def _key(self, path: str) -> str:
        """Return the name of a path's file.

        Raises:
            Unfit: it is not of the version that this record is of.
        """
        if not checked(path).startswith(self._folder):
            raise Unfit(f"{path} is no file of {self._folder[:-1]}, which {self._said} is of")
        return path.removeprefix(self._folder)

    def _look(self, key: str) -> Held | None:
        """Tell of a file as it is now: whoever was superseded may have sent it meanwhile."""
        return self._known().get(key) if self._published() else self._draft.look(key)

    def _refuse(self, path: str, wanted: Wanted) -> None:
        """Refuse what the record does not take, before anything is sent.

        Raises:
            Unfit: there is no room for it, or no file may have its name.
            Denied: the record is published.
        """
        if self._published():
            raise Denied(f"{path} cannot be sent: {self._said} is published, and never changes")
        others = [(key, one.size or 0) for key, one in self._known().items() if key != wanted.key]
        if problem := unfit([*others, (wanted.key, wanted.size)], LIMITS):
            raise Unfit(f"{path} does not go into {self._said}: {problem}")

    def _known(self) -> dict[str, Held]:
        """Return what is whole there, by name; asked for once, as nobody else writes to it."""
        if self._files is None:
            with _told(f"the files of {self._said} cannot be listed"):
                found = self._published_files() if self._published() else self._draft.held()
            self._files = {key: one for key, one in found.items() if one.size is not None}
        return self._files

    def _published(self) -> bool:
        if self._is_published is None:
            self._published_files()
        return bool(self._is_published)

    def _published_files(self) -> Mapping[str, Held]:
        doing = f"{self._said}: read it"
        found = self._calls.get(f"/api/records/{part(self._name)}", doing, record)
        self._is_published = found is not None and found.published
        if found is None or not found.published:
            return {}
        copies = published(self._calls, found).files
        return {one.key: Held(one.key, one.size, one.md5) for one in copies}

    def _blocks(self, path: str, key: str, start: int, end: int | None) -> Iterator[bytes]:
        """Ask once for the bytes of a file from ``start`` on."""
        if self._published():
            where = f"/records/{part(self._name)}/files/{part(key)}"
        else:
            where = f"/api/records/{part(self._name)}/draft/files/{part(key)}/content"
        ranged = {"Range": f"bytes={start}-{'' if end is None else end - 1}"}
        headers = ranged if start or end is not None else {}
        with self._pace.stream(self._host), self._given(path, where, headers) as answer:
            if answer.status_code == _NOTHING_THERE:
                return
            told = _RANGE.match(answer.headers.get("content-range", ""))
            skip = start - (int(told[1]) if told else 0)
            if skip < 0:
                raise StorageError(f"{path} cannot be read: it came from another byte on")
            left = None if end is None else end - start
            for block in answer.iter_raw():
                self.take(len(block))
                given = block[skip:] if left is None else block[skip : skip + left]
                skip = max(0, skip - len(block))
                left = None if left is None else left - len(given)
                if given:
                    yield given
                if left == 0:
                    return

    @contextmanager
    def _given(self, path: str, where: str, headers: dict[str, str]) -> Iterator[Any]:
        try:
            with self._calls.download(where, f"{self._said}: read {path}", headers) as answer:
                yield answer
        except Refused as error:
            if error.status != 404:
                raise
            if self.stat(path) is None:
                raise Absent(f"{path} is not there") from error
            raise StorageError(f"{path} is listed, and cannot be had now: {error}") from error

    def take(self, count: int) -> None:
        """Wait until so many bytes may have gone."""
        while count:
            count -= self._pace.take(self._host, count)

    def _pause(self, seconds: float) -> None:
        """Wait, as long as the lease lasts."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self._lease.check()
            time.sleep(min(left, _STEP))


@dataclass
class _Paced:
    """A staged file that is read as fast as it may be sent."""

    file: BinaryIO
    take: Callable[[int], None]
    lease: Lease

    def read(self, size: int, /) -> bytes:
        self.lease.check()
        block = self.file.read(size)
        self.take(len(block))
        return block

    def close(self) -> None:
        self.file.close()


def _stored(path: str, held: Held) -> Stored:
    return Stored(path, held.size or 0, md5=held.md5, tag=held.md5 or "")


@contextmanager
def _told(what: str) -> Iterator[None]:
    """Tell what a repository does not do as a storage says it."""
    try:
        yield
    except Corrupt as error:
        raise contract.Corrupt(f"{what}: {error}") from error
    except (Busy, Unsure) as error:
        raise StorageError(f"{what}: {error}", error.wait) from error
    except RepositoryError as error:
        raise (Denied if error.final else StorageError)(f"{what}: {error}") from error
