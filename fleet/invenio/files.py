"""The files of a draft: what is there with the same bytes is left, all else is made so.

A published record's files are never written: these calls are about its draft, and a record that is
published has none that could be changed.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import Final, Protocol

from fleet.invenio.calls import Calls, nothing, part
from fleet.invenio.faults import Corrupt, Refused, RepositoryError, Unfit, Unsure
from fleet.invenio.patience import TURNS, settled
from fleet.invenio.shapes import Held, file, files

_BLOCK: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file that a record shall have; the md5 is what the repository checks it by."""

    key: str
    size: int
    md5: str

    def is_held(self, held: Held | None) -> bool:
        """Whether the repository has it, whole."""
        return held == Held(self.key, self.size, self.md5)


class Stream(Protocol):
    """A file that was opened for reading."""

    def read(self, size: int, /) -> bytes:
        """Give at most so many bytes; none at the end."""

    def close(self) -> None:
        """Let go of it."""


Opener = Callable[[Wanted], Stream]


class DraftFiles:
    """The files of one draft."""

    def __init__(self, calls: Calls, draft: str) -> None:
        self._calls = calls
        self._draft = draft
        self._path = f"/api/records/{part(draft)}/draft/files"

    def held(self) -> dict[str, Held]:
        """Tell what files there are.

        Raises:
            Unfit: there is no such draft.
        """
        found = self._calls.get(self._path, self._doing("list its files"), files)
        if found is None:
            raise Unfit(f"{self._doing('list its files')}: there is no such draft")
        return {one.key: one for one in found}

    def fill(self, wanted: Sequence[Wanted], opened: Opener) -> None:
        """Have these files and no others in the draft.

        Args:
            wanted: all files.
            opened: opens one for reading, from its first byte.

        Raises:
            Corrupt: what was read, or what arrived, is not what is wanted.
            RepositoryError: it could not be done.
        """
        by_key = {one.key: one for one in wanted}
        held = self.held()
        for key, found in list(held.items()):
            if key not in by_key or (found.size is not None and not by_key[key].is_held(found)):
                self.remove(key)
                del held[key]
        self._begin([key for key in by_key if key not in held])
        for one in wanted:
            if not one.is_held(held.get(one.key)):
                self._put(one, opened, resumed=one.key in held)

    def lacking(self, wanted: Sequence[Wanted]) -> list[str]:
        """Name the files that the draft lacks, has otherwise or has beyond those wanted."""
        held = self.held()
        odd = {one.key for one in wanted if not one.is_held(held.get(one.key))}
        return sorted(odd | (held.keys() - {one.key for one in wanted}))

    def look(self, key: str) -> Held | None:
        """Tell of one file; None where there is none, nor anything of it."""
        doing = self._doing(f"look at {key!r}")
        return self._calls.get(f"{self._path}/{part(key)}", doing, file)

    def put(self, one: Wanted, opened: Opener, *, begun: bool) -> None:
        """Have one file in the draft, and leave all others.

        Args:
            one: the file.
            opened: opens it for reading, from its first byte.
            begun: whether something of it is there, which is not whole or is to be replaced.

        Raises:
            Corrupt: what was read, or what arrived, is not what is wanted.
            RepositoryError: it could not be done.
        """
        if not begun:
            self._begin([one.key])
        self._put(one, opened, resumed=begun)

    def remove(self, key: str) -> None:
        """Have no such file in the draft."""
        doing = self._doing(f"remove {key!r}")
        path = f"{self._path}/{part(key)}"

        def gone() -> bool | None:
            return True if key not in self.held() else None

        def remove() -> None:
            self._calls.send("DELETE", path, doing, nothing)

        settled(self._calls.patience, doing, gone, remove)

    def _put(self, one: Wanted, opened: Opener, *, resumed: bool) -> None:
        trouble: RepositoryError | None = None
        for turn in range(TURNS):
            if trouble is not None:
                self._calls.patience.back_off(turn, trouble)
            try:
                if (resumed or turn) and self._arrived(one):
                    return
                self._send(one, opened)
            except Unsure as error:
                trouble = error
            else:
                return
        raise trouble or AssertionError

    def _arrived(self, one: Wanted) -> bool:
        """Tell whether an earlier attempt got through; if not, begin the file anew.

        A file whose answer was lost may be there with all its bytes, and only has to be committed:
        that is tried before 50 GB are sent again.
        """
        held = self.look(one.key)
        if held is not None and held.size is None:
            with suppress(Unsure, Refused):
                self._commit(one)
            held = self.look(one.key)
        if one.is_held(held):
            return True
        if held is not None:
            self.remove(one.key)
        self._begin([one.key])
        return False

    def _send(self, one: Wanted, opened: Opener) -> None:
        """Send a file that was begun, and hold the repository's md5 against the one wanted."""
        doing = self._doing(f"send {one.key!r}")
        with closing(opened(one)) as stream:
            blocks = _checked(one, stream, doing)
            told = self._calls.upload(
                f"{self._path}/{part(one.key)}/content", doing, one.size, blocks
            )
        if "errors" in told:
            raise Unsure(f"{doing}: the bytes were not taken")
        held = self._commit(one)
        if not one.is_held(held):
            raise Unsure(f"{doing}: other bytes arrived than were sent (md5 {held.md5})")

    def _commit(self, one: Wanted) -> Held:
        doing = self._doing(f"commit {one.key!r}")
        return self._calls.send("POST", f"{self._path}/{part(one.key)}/commit", doing, file)

    def _begin(self, keys: list[str]) -> None:
        lacking = keys

        def begun() -> bool | None:
            nonlocal lacking
            held = self.held()
            lacking = [key for key in keys if key not in held]
            return None if lacking else True

        def begin() -> bool | None:
            entries = [{"key": key} for key in lacking]
            told = self._calls.send("POST", self._path, doing, files, entries)
            return True if {one.key for one in told}.issuperset(lacking) else None

        doing = self._doing("begin its files")
        if keys:
            settled(self._calls.patience, doing, begun, begin)

    def _doing(self, step: str) -> str:
        return f"draft {self._draft}: {step}"


def _checked(one: Wanted, stream: Stream, doing: str) -> Iterator[bytes]:
    """Give a file's bytes, and stop before the last block if they are not those wanted."""
    digest = hashlib.md5(usedforsecurity=False)
    left = one.size
    while left:
        block = stream.read(min(_BLOCK, left))
        left -= len(block)
        digest.update(block)
        if not block or (not left and (stream.read(1) or digest.hexdigest() != one.md5)):
            raise Corrupt(
                f"{doing}: what was read is not the file that is wanted: verify that copy"
            )
        yield block
