"""Which bytes of a file are held, by whose hand, and who is fetching the rest: pure bookkeeping.

The file is cut into granules.  A granule is held or it is not, and its *author* is the number of
the one mirror it came from, so that a liar's work can be told from the others'.  Claims are runs
of bytes that one stream fetches from one mirror.  They begin and end at a granule's edge, except:

- a granule that was broken off is gone on with at the very byte, by its own author only;
- the file may end within a granule.

Nothing here locks: callers hold the lock of their download.
"""

from dataclasses import dataclass

GRANULE = 2 * 1024 * 1024
MOST_AUTHORS = 126
ENDLESS = 1 << 62


@dataclass(eq=False)
class Claim:
    """A run of bytes under way: ``[start, at)`` came, ``[at, end)`` is still to come.

    ``busy`` is how far its stream is writing just now: nobody may cut it shorter than that.
    ``rate`` is its pace in bytes per second, 0 while it has none; ``marked`` is up to which
    granule it was counted as held.
    """

    author: int
    start: int
    at: int
    end: int
    busy: int = 0
    rate: float = 0.0
    marked: int = 0

    @property
    def left(self) -> int:
        """Bytes still to come."""
        return self.end - self.at

    def seconds_left(self) -> float:
        """How long it still takes at its own pace; a claim that has no pace takes for ever."""
        return self.left / self.rate if self.rate > 0 else float("inf")

    def reserve(self, at: int, count: int) -> int:
        """Begin to write bytes from ``at`` on; say how many of ``count`` belong to this claim."""
        count = max(0, min(count, self.end - at))
        if count:
            self.busy = at + count
        return count


class Extents:
    """The granules of one file of ``size`` bytes (None: not known yet)."""

    def __init__(self, size: int | None, *, unit: int = GRANULE) -> None:
        """Claims are cut at multiples of ``unit`` bytes, itself a multiple of ``GRANULE``."""
        self.size = size
        self.unit = unit
        self.authors = bytearray(0 if size is None else granules(size))
        self.claims: list[Claim] = []
        self._front = 0  # no granule before it is missing
        self._stubs: dict[int, tuple[int, int]] = {}  # granule -> its author, and how far it came

    @property
    def front(self) -> int:
        """Bytes from the start of the file that are held without a gap."""
        missing = self.authors.find(0, self._front)
        self._front = len(self.authors) if missing < 0 else missing
        return min(self._front * GRANULE, ENDLESS if self.size is None else self.size)

    @property
    def whole(self) -> bool:
        """Whether every byte is held."""
        return self.size is not None and self.front == self.size

    @property
    def held(self) -> int:
        """Bytes in held granules."""
        full = (len(self.authors) - self.authors.count(0)) * GRANULE
        if self.size is not None and self.authors and self.authors[-1]:
            full -= len(self.authors) * GRANULE - self.size
        return full

    @property
    def taking_part(self) -> set[int]:
        """The authors of what is held."""
        return set(self.authors) - {0}

    @property
    def begun(self) -> bool:
        """Whether there is anything, held or under way."""
        return bool(self.claims or self._stubs or any(self.authors))

    def runs_of(self, author: int) -> list[tuple[int, int]]:
        """List the runs of bytes that one author brought, as ``[start, end)``."""
        runs, at = [], self.authors.find(author)
        while at >= 0:
            end = at
            while end < len(self.authors) and self.authors[end] == author:
                end += 1
            runs.append((at * GRANULE, min(end * GRANULE, self.size or ENDLESS)))
            at = self.authors.find(author, end)
        return runs

    def claim(self, author: int, most: int, avoid: bytes = b"") -> Claim | None:
        """Take the first run that nobody holds or fetches, of about ``most`` bytes.

        Granules that ``avoid`` gives to this same author are left out.
        """
        first = self._first_free(author, avoid)
        if first is None:
            return None
        start = first * GRANULE
        if self.size is None:
            end = ENDLESS
        else:
            free = self._free_until(first, most, author, avoid)
            end = min(_up(start + max(most, 1), self.unit), free)
        stub = self._stubs.pop(first, None)
        at = stub[1] if stub and stub[0] == author else start
        return self._put(Claim(author, start, at, end))

    def would_claim(self, author: int, avoid: bytes) -> bool:
        """Whether ``claim`` would find anything."""
        return self._first_free(author, avoid) is not None

    def steal(self, author: int, rate: float, *, least: int, avoid: bytes = b"") -> Claim | None:
        """Take the tail of the claim that will be done last, so that both end at one time.

        A claim that would still be under way long after we had done all of it gives up the whole.

        Args:
            author: the thief.
            rate: its bytes per second.
            least: do not split what is left into less than this.
            avoid: leave alone what it gives to the thief, as ``claim`` does.
        """
        victims = [one for one in self.claims if one.left > 0 and one.end < ENDLESS]
        victim = max(victims, key=Claim.seconds_left, default=None)
        if victim is None or rate <= 0:
            return None
        ours = rate / (rate + victim.rate)
        cut = _up(int(victim.end - victim.left * ours), self.unit)
        splits = victim.left >= 2 * least and max(victim.at, victim.busy) < cut < victim.end
        if splits and not _gives(avoid, author, cut, victim.end):
            claim = Claim(author, cut, cut, victim.end)
            victim.end = cut
            return self._put(claim)
        begin = max(victim.start, victim.at - victim.at % self.unit)
        begin -= begin % GRANULE
        idle = victim.busy <= victim.at and victim.author != author
        idle = idle and not _gives(avoid, author, begin, victim.end)
        if idle and victim.seconds_left() > 4 * (victim.end - begin) / rate + 1:
            claim = Claim(author, begin, begin, victim.end)
            victim.at = victim.end = begin
            self.forget(begin, claim.end)
            return self._put(claim)
        return None

    def extend(self, claim: Claim) -> None:
        """Let a claim go on to where the next granule is held or claimed by another."""
        at, others = granules(claim.end), [one for one in self.claims if one is not claim]
        starts = {one.start // GRANULE for one in others if one.left > 0}
        while at < len(self.authors) and not self.authors[at] and at not in starts:
            at += 1
        claim.end = max(claim.end, min(at * GRANULE, self.size or 0))

    def bound(self, claim: Claim, ahead: int) -> int:
        """Say where a claim to the file's end may end instead, so that others have the rest."""
        return min(claim.end, _up(max(claim.at, claim.busy) + max(ahead, 1), self.unit))

    def mark(self, claim: Claim, upto: int) -> range:
        """Hold the granules of ``claim`` that are full up to the byte ``upto``; say which are new.

        What was forgotten since it was marked stays forgotten.
        """
        upto = min(upto, claim.end)
        last = granules(upto) if upto == self.size else upto // GRANULE
        if self.size is None and last > len(self.authors):
            self.authors.extend(bytes(last - len(self.authors)))
        first = max(claim.start // GRANULE, claim.marked)
        last = claim.marked = max(first, last)
        self.authors[first:last] = bytes([claim.author]) * (last - first)
        return range(first, last)

    def release(self, claim: Claim) -> None:
        """End a claim; a granule it broke off in is remembered for its author."""
        self.claims.remove(claim)
        self._unstub(claim.start // GRANULE, granules(max(claim.at, claim.busy)))
        broken = claim.at // GRANULE
        edge = max(claim.start, broken * GRANULE)
        if claim.at > edge and claim.left > 0 and not self._held(broken):
            self._stubs[broken] = (claim.author, claim.at)

    def learn(self, size: int) -> None:
        """Learn the size of a file that none was known of; claims without an end get one."""
        self.size = size
        del self.authors[granules(size) :]
        self.authors.extend(bytes(granules(size) - len(self.authors)))
        for claim in self.claims:
            claim.end = min(claim.end, size)

    def forget(self, start: int, end: int) -> None:
        """Hold none of the granules that ``[start, end)`` touches."""
        first, last = start // GRANULE, min(granules(end), len(self.authors))
        self.authors[first:last] = bytes(max(last - first, 0))
        self._front = min(self._front, first)
        self._unstub(first, last)

    def _unstub(self, first: int, last: int) -> None:
        """Let nobody go on with what was thrown away or written over."""
        for granule in [one for one in self._stubs if first <= one < last]:
            del self._stubs[granule]

    def _put(self, claim: Claim) -> Claim:
        self.claims.append(claim)
        return claim

    def _held(self, granule: int) -> bool:
        return granule < len(self.authors) and self.authors[granule] != 0

    def _first_free(self, author: int, avoid: bytes) -> int | None:
        if self.size is None:  # only one can fetch what nobody knows the end of
            return None if any(one.left > 0 for one in self.claims) else self.front // GRANULE
        at = self.authors.find(0, granules(self.front))
        while at >= 0:
            beyond = self._claimed_until(at)
            if beyond is None and not (avoid and avoid[at] == author):
                return at
            at = self.authors.find(0, at + 1 if beyond is None else beyond)
        return None

    def _claimed_until(self, granule: int) -> int | None:
        """Say where the claim that covers ``granule`` ends; None if none does."""
        for one in self.claims:
            if one.left > 0 and one.start // GRANULE <= granule < granules(one.end):
                return granules(one.end)
        return None

    def _free_until(self, first: int, most: int, author: int, avoid: bytes) -> int:
        """Say where the run of free granules that begins at ``first`` ends, in bytes."""
        last = min(len(self.authors), first + granules(most + self.unit))
        taken = [one.start // GRANULE for one in self.claims if one.start // GRANULE > first]
        last = min([last, *taken])
        for at in range(first, last):
            if self.authors[at] or (avoid and avoid[at] == author):
                last = at
                break
        return min(last * GRANULE, self.size or 0)


def granules(size: int) -> int:
    """Count the granules that ``size`` bytes touch."""
    return -(-size // GRANULE)


def _gives(avoid: bytes, author: int, start: int, end: int) -> bool:
    """Whether ``avoid`` names an author for a granule of ``[start, end)``."""
    return author in avoid[start // GRANULE : granules(end)]


def _up(at: int, unit: int) -> int:
    return -(-at // unit) * unit
