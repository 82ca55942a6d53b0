"""The digests of one file, computed by threads while it arrives.

Rules this module keeps:

- A feeder reads the file back from the page cache, in order and only behind what is on disk for
  good; so a resumed file, late ranges and several sources are one and the same case.
- A block that is at hand when its turn comes near is taken as it is (``offer``); every other one
  is read once into a small ring and handed to every lane, a thread for each kind of
  digest.  The slowest lane sets the pace; the ring bounds the memory.
- Whatever ends the feeder (the file's end, an error, a stop) ends the lanes.  No thread outlives
  ``finish`` or ``stop``: the descriptor is closed then, and its number may become another file's.
- A small file starts no thread, and a single kind of digest none besides the feeder,
  nor do two on one core.
"""

import errno
import os
import threading
from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack
from queue import SimpleQueue
from typing import Self

from fleet.messages import Digest
from workers.digests import BLOCK, Bep52, Block, Digests, Found, Hasher, read

INLINE = 4 * BLOCK  # below it threads cost more than they bring
RING = 4  # blocks: enough to keep every lane busy, few enough to stay in the processor's cache
OFFER_SECONDS = 0.05
MANY_CORES = 4  # from here on two threads share the leaves, which one takes longest over


def _go_on() -> None:
    """Let the hashing go on."""


class Lanes:
    """The digests of one file, computed in order by threads while it arrives."""

    def __init__(
        self,
        descriptor: int,
        kinds: Collection[Digest],
        *,
        pieces: int | None = None,
        parts: int | None = None,
        check: Callable[[], None] = _go_on,
    ) -> None:
        """Begin with nothing on disk.

        Args:
            descriptor: the file, open for reading until ``finish`` or ``stop`` came back.
            kinds: which digests; sha256 is one of them in any case.
            pieces: the v1 piece length in bytes, None for no pieces.
            parts: the length in bytes of the parts whose md5 is wanted, None for no parts.
            check: called between blocks; what it raises ends the hashing.
        """
        self._descriptor = descriptor
        self._digests = Digests(kinds, pieces, parts)
        self._check = check
        self._changed = threading.Condition()
        self._reached = 0
        self._size: int | None = None
        self._feeder: threading.Thread | None = None
        self._ring = _Ring()
        self._fed = 0
        self._offered: dict[int, memoryview] = {}
        self._spare: list[memoryview] = []

    @property
    def position(self) -> int:
        """How many bytes every lane has taken.

        After an error it is all that was reached, so that nobody waits for lanes that ended.
        """
        return self._reached if self._ring.over else self._ring.taken

    def reach(self, end: int) -> None:
        """Note that the bytes [0, end) are on disk for good; a lower ``end`` changes nothing."""
        with self._changed:
            if end <= self._reached:
                return
            self._reached = end
            if end < INLINE or self._ring.over:
                return
            if self._feeder is None:
                self._feeder = threading.Thread(target=self._feed, name="digests", daemon=True)
                self._feeder.start()
            self._changed.notify()

    def offer(self, start: int, block: memoryview) -> memoryview:
        """Give the block at ``start``, which was reached, so that it need not be read back.

        It may wait a moment for lanes that are only a little behind: reading back costs more.

        Returns:
            What to use from now on: another block if it was taken, else the same.
        """
        with self._changed:
            if self._feeder is None or start + BLOCK > self._reached:
                return block
            if 0 <= start - self._fed < 2 * RING * BLOCK:
                self._changed.wait_for(lambda: self._has_room(start), OFFER_SECONDS)
            if not self._has_room(start) or start < self._fed or start in self._offered:
                return block
            self._offered[start] = block
            return self._spare.pop() if self._spare else memoryview(bytearray(BLOCK))

    def _has_room(self, start: int) -> bool:
        """Whether a block that is offered would be taken, now or never."""
        return self._ring.over or start < self._fed + RING * BLOCK

    def finish(self, size: int) -> Found:
        """Wait until all of [0, size) is hashed, and give the digests; call it once.

        Raises:
            OSError: the file cannot be read or is shorter, or ``stop`` was called.
            ValueError: more than ``size`` was reached.
            Exception: whatever ``check`` raised.
        """
        self.reach(size)
        if size < self._reached:
            raise ValueError(f"{self._reached} bytes were reached of a file of {size}")
        with self._changed:
            self._size = size
            self._changed.notify()
        if self._feeder is None:
            self._hash_here(size)
        else:
            self._feeder.join()
        if self._ring.error is not None:
            raise self._ring.error
        if self._ring.over:
            raise OSError(errno.ECANCELED, "its hashing was stopped")
        self._digests.size = size
        return self._digests.finish()

    def stop(self) -> None:
        """End the threads, whatever they do, and wait until they have."""
        self._ring.end()
        with self._changed:
            self._changed.notify()
        if self._feeder is not None:
            self._feeder.join()

    def _hash_here(self, size: int) -> None:
        def take(block: Block) -> None:
            self._check()
            self._digests.update(block)

        if not self._ring.over:
            self._ring.taken = read(self._descriptor, take, end=size)
            if self._ring.taken < size:
                raise _ended(self._ring.taken)

    def _feed(self) -> None:
        """Do the feeder's work; its end, whatever the cause, ends the lanes."""
        try:
            with ExitStack() as threads:
                lanes = [
                    [threads.enter_context(_Lane(one, self._ring)) for one in team]
                    for team in self._teams()
                ]
                self._feed_to(lanes)
        except BaseException as error:  # noqa: BLE001 - `finish` raises it
            self._ring.end(error)

    def _teams(self) -> list[tuple[Hasher, ...]]:
        """Give the hashers that need lanes, in teams that take turns with the blocks."""
        hashers = self._digests.hashers
        cores = os.cpu_count() or 1
        many = cores >= MANY_CORES
        if len(hashers) <= (2 if cores == 1 else 1):
            return []
        return [one.shares(2) if many and isinstance(one, Bep52) else (one,) for one in hashers]

    def _feed_to(self, teams: Sequence[Sequence["_Lane"]]) -> None:
        """Read the file; hand each block to one lane of each team, or hash it here."""
        at = turn = 0
        while (end := self._next(at)) > at:
            self._check()
            block = self._ring.get(max(1, len(teams)))
            with self._changed:
                self._fed, offered = end, self._offered.pop(at, None)
                if offered is not None:
                    self._spare.append(block.swap(offered))
                self._changed.notify_all()
            if offered is None:
                block.fill(self._descriptor, at, end)
            if not teams:
                self._digests.update(block.view)
                self._ring.give_back(block)
            for team in teams:
                team[turn % len(team)].blocks.put(block)
            at, turn = end, turn + 1

    def _next(self, at: int) -> int:
        """Wait for the block at ``at``; return where it ends, ``at`` itself when there is none."""

        def settled() -> bool:
            return self._ring.over or self._size is not None or self._reached >= at + BLOCK

        with self._changed:
            self._changed.wait_for(settled)
            if self._ring.over:
                return at
            return at + BLOCK if self._size is None else min(at + BLOCK, self._size)


class _Block:
    """A buffer of the ring, what is in it, and how many lanes are still to take that."""

    def __init__(self) -> None:
        self.view = self._buffer = memoryview(bytearray(BLOCK))
        self.holders = 0

    def swap(self, buffer: memoryview) -> memoryview:
        """Take a full buffer, and give the old one away."""
        old, self._buffer = self._buffer, buffer
        self.view = buffer
        return old

    def fill(self, descriptor: int, start: int, end: int) -> None:
        """Read the file's bytes [start, end).

        Raises:
            OSError: it cannot be read, or ends before.
        """
        self.view = rest = self._buffer[: end - start]
        while rest:
            count = os.preadv(descriptor, [rest], end - len(rest))
            if not count:
                raise _ended(end - len(rest))
            rest = rest[count:]


class _Ring:
    """The blocks that go from the feeder to the lanes and back, until that is over."""

    def __init__(self) -> None:
        self.taken = 0  # bytes
        self.over = False
        self.error: BaseException | None = None
        self._made = 0
        self._free: SimpleQueue[_Block] = SimpleQueue()
        self._lock = threading.Lock()

    def get(self, holders: int) -> _Block:
        """Wait for a block that nobody holds, and give it to so many holders."""
        if self._made < RING and self._free.empty():
            self._made += 1
            self._free.put(_Block())
        block = self._free.get()
        block.holders = holders
        return block

    def give_back(self, block: _Block) -> None:
        """Let go of a block, as one of its holders."""
        with self._lock:
            block.holders -= 1
            if block.holders:
                return
            self.taken += len(block.view)
        self._free.put(block)

    def end(self, error: BaseException | None = None) -> None:
        """Let no more be read or hashed; only the first cause counts."""
        with self._lock:
            if not self.over:
                self.over, self.error = True, error


class _Lane:
    """A thread that takes blocks into one hasher, in order; leaving it waits for the last one."""

    def __init__(self, hasher: Hasher, ring: _Ring) -> None:
        self.blocks: SimpleQueue[_Block | None] = SimpleQueue()
        self._hasher = hasher
        self._ring = ring
        self._thread = threading.Thread(target=self._run, name="digest", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.blocks.put(None)
        self._thread.join()

    def _run(self) -> None:
        """Hash what comes; once it is over, only give the blocks back."""
        while (block := self.blocks.get()) is not None:
            try:
                if not self._ring.over:
                    self._hasher.update(block.view)
            except BaseException as error:  # noqa: BLE001 - `finish` raises it
                self._ring.end(error)
            self._ring.give_back(block)


def _ended(at: int) -> OSError:
    return OSError(errno.ENODATA, f"it ends at byte {at}, though more of it was written")
