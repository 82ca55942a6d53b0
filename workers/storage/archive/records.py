"""What is known of items, which the Archive tells late.

An upload that was taken is a task in its item's queue; until that has run, neither the record of
the item nor a download shows the file.  Tasks of one item run one after the other.

Rules this module keeps:

- A record is asked for anew as seldom as will do: all who wait for the same item share the answer.
- Whoever waits gives up once the lease says so, or after ``Patience.taken_in``.
"""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, TypeVar

from fleet.planning.items import is_own
from workers.lease import Lease
from workers.pull.faults import plain
from workers.storage.archive.client import Client
from workers.storage.contract import Absent, StorageError, Stored

MARK: Final = "fleet-folder"
"""The field of an item's metadata that says which folder it holds, and so that it is ours."""

_STEP: Final = 0.2
_STUCK: Final = frozenset({2, 9})  # "Error (red)" and "Paused (brown)", tasks.html
_T = TypeVar("_T")


class Late(StorageError):
    """What was waited for has not come; to try again at once is of no use."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait, in seconds.

    Attributes:
        tries: how often something is tried that may pass.
        again: before the second try; twice as long before each that follows.
        longest: between two tries, whatever the Archive asks for.
        look: between two looks at a record, and how old one may be that is used.
        taken_in: for a queue to empty, or for a file to be taken in.
    """

    tries: int = 4
    again: float = 5.0
    longest: float = 300.0
    look: float = 10.0
    taken_in: float = 2 * 3600.0


@dataclass(frozen=True, slots=True)
class Record:
    """What an item's record says: its own files, by name, and whose it is.

    ``folder`` is None where it is not one of ours; ``is_there`` tells that from none at all.
    """

    files: Mapping[str, Stored] = field(default_factory=dict)
    folder: str | None = None
    is_there: bool = False


class Records:
    """The records of items; safe to use from several threads."""

    def __init__(self, client: Client, patience: Patience, lease: Lease) -> None:
        self._client, self._patience, self._lease = client, patience, lease
        self._lock = threading.Lock()
        self._held: dict[str, _Held] = {}

    def get(self, item: str, since: float | None = None) -> Record:
        """Return a record that is no older than that moment, or than one look."""
        since = time.monotonic() - self._patience.look if since is None else since
        held = self._of(item)
        with held.lock:
            if held.at < since:
                at = time.monotonic()
                said = patiently(partial(self._client.record, item), self._patience, self._lease)
                held.record, held.at = _read(item, said), at
            return held.record

    def settle(self, item: str, lease: Lease) -> None:
        """Wait until all has run that is on its way into an item and not from here.

        What an attempt that was killed has sent is either in the record after that or was not
        taken; what is sent from here on is waited for by whoever sends it, and so is what other
        attempts send meanwhile: files of other shards.
        """
        held = self._of(item)
        with held.settling:
            if held.settled:
                return
            before = self._tasks(item)
            if before:
                what = f"{len(before)} tasks of {item} have run"
                self.wait_for(lambda _: before.isdisjoint(self._tasks(item)), lease, what)
            self.get(item, time.monotonic())
            held.settled = True

    def unsettle(self, item: str) -> None:
        """Forget that everything on its way is known of: something was sent, and nobody waits."""
        self._of(item).settled = False

    def wait_until(
        self, item: str, is_so: Callable[[Record], bool], lease: Lease, what: str
    ) -> Record:
        """Look at an item's record until something is so of it, and return that.

        Raises:
            Late: it is not so after all patience.
        """
        seen = Record()

        def look(since: float) -> bool:
            nonlocal seen
            seen = self.get(item, since)
            return is_so(seen)

        self.wait_for(look, lease, what)
        return seen

    def wait_for(self, is_so: Callable[[float], bool], lease: Lease, what: str) -> None:
        """Ask until something is so; ``is_so`` is given how new what it looks at has to be.

        Raises:
            Late: it is not so after all patience.
        """
        began = since = time.monotonic()
        while not is_so(since):
            if time.monotonic() - began > self._patience.taken_in:
                hours = self._patience.taken_in / 3600
                raise Late(f"waited {hours:.1f} h until {what}; it is looked at again later")
            pause(self._patience.look, lease)
            since = time.monotonic() - self._patience.look / 2

    def _tasks(self, item: str) -> frozenset[int]:
        """Name the tasks of an item that have not run.

        Raises:
            Late: they wait for a person.
        """
        tasks = patiently(partial(self._client.tasks, item), self._patience, self._lease)
        if not _STUCK.isdisjoint(tasks.values()):
            raise Late(
                f"a task of {item} failed or was paused, and it takes nothing in: see "
                f"https://archive.org/history/{item}"
            )
        return frozenset(tasks)

    def _of(self, item: str) -> "_Held":
        with self._lock:
            return self._held.setdefault(item, _Held())


@dataclass
class _Held:
    record: Record = field(default_factory=Record)
    at: float = float("-inf")
    settled: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)
    settling: threading.Lock = field(default_factory=threading.Lock)


def patiently(call: Callable[[], _T], patience: Patience, lease: Lease) -> _T:
    """Do something that may fail and pass, a few times.

    Raises:
        StorageError: what it raised at last.
    """
    for number in range(1, patience.tries):
        try:
            return call()
        except StorageError as error:
            if error.final or isinstance(error, Absent | Late):
                raise
            pause(min(patience.longest, max(error.wait, patience.again * 2 ** (number - 1))), lease)
    return call()


def pause(seconds: float, lease: Lease) -> None:
    """Wait, as long as the lease lasts."""
    until = time.monotonic() + seconds
    while True:
        lease.check()
        left = until - time.monotonic()
        if left <= 0:
            return
        time.sleep(min(left, _STEP))


def _read(item: str, said: Mapping[str, Any]) -> Record:
    """Read a record: what was uploaded, without what the Archive keeps of it or made from it.

    Raises:
        StorageError: it is none.
    """
    if not said:
        return Record()
    try:
        files = {
            str(one["name"]): Stored(
                str(one["name"]), int(one["size"]), md5=str(one["md5"]), tag=str(one["md5"])
            )
            for one in said.get("files", ())
            if one.get("source") == "original" and not is_own(item, str(one["name"]))
        }
        folder = said.get("metadata", {}).get(MARK)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise StorageError(f"the record of {item} cannot be read: {plain(repr(error))}") from error
    return Record(files, folder if isinstance(folder, str) else None, is_there=True)
