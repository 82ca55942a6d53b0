"""One claim of one item from one mirror: asked, judged, and read to where it ends.

What comes is written at its place first and counted after, behind the reading if there is much
of it (see ``behind``).  A claim may be cut shorter by another stream at any moment, and what came
beyond its end is dropped.  Whoever sends nearly nothing for as long as our patience lasts has
stalled.
"""

import errno
from functools import partial
from http import HTTPStatus
from time import monotonic, sleep
from typing import Protocol

from workers.pull.answers import Body, Part, Wanted, judge
from workers.pull.behind import Behind
from workers.pull.extents import GRANULE, Claim
from workers.pull.faults import Again, Fault, Local, Passing, Unreachable, Worthless
from workers.pull.mirror import TRIES, Mirror
from workers.pull.pieces import PieceCheck
from workers.pull.run import Run
from workers.pull.web import Answer
from workers.quotas import Stream

FLUSH_SECONDS = 0.25
MUCH = 4 * GRANULE
IDLE_SECONDS = 1.0
BUFFERED_SECONDS = 5.0  # within which what a source sent before it broke off is read
FLOOR = 1024  # bytes per second below which an answer is not worth waiting for
FULL_POLL_SECONDS = 0.5
_FULL = {errno.ENOSPC, errno.EDQUOT}


class Keeper(Protocol):
    """Who takes what a fetch brings, and says what it is worth."""

    def accept(self, fetch: "Fetch", body: Body, *, ranged: bool) -> bool:
        """Make room for an answer that was judged good; False if it is of no use now."""

    def check(self, claim: Claim) -> PieceCheck | None:
        """Make the check of known pieces for what a claim brings."""

    def write(self, view: memoryview, claim: Claim) -> None:
        """Put a claim's next bytes where they belong."""

    def took(self, fetch: "Fetch", count: int, sure: int) -> None:
        """Count bytes that were written; those up to ``sure`` may be held."""

    def spare(self, start: int, block: memoryview) -> memoryview:
        """Take the block of a whole granule, if it is of use; give the one to go on with."""

    def ended(self, fetch: "Fetch", body: Body) -> None:
        """Take the honest end of an answer."""

    def leave(self, fetch: "Fetch", fault: Fault | None) -> None:
        """Give a fetch's claim back, and take what went wrong with it."""


class Fetch:
    """One claim under way; ``run`` it in a thread, with that thread's own buffer.

    ``wanted`` is what its answer has to be; ``keeper`` takes what comes.
    ``stream`` is what it holds, or has held, of its provider's.
    """

    def __init__(
        self,
        run: Run,
        mirror: Mirror,
        claim: Claim,
        part: Part,
        wanted: Wanted,
        keeper: Keeper,
    ) -> None:
        self.mirror = mirror
        self.claim = claim
        self.part = part
        self.keeper = keeper
        self.block = memoryview(b"")
        self.stream: Stream | None = None
        self._run = run
        self._wanted = wanted
        self._answer: Answer | None = None
        self._at = claim.at  # where the next byte that is read belongs
        self._cut = False
        self._idled = 0.0  # when we last made it wait for long
        self._hopped = 0.0  # seconds that we waited to follow redirects
        self._waits = False  # for the budget, which is no fault of the source
        self._began = (monotonic(), claim.at)
        self._paced = (monotonic(), 0)  # since when how many bytes came
        self._watched = (monotonic(), 0)

    @property
    def bounded(self) -> bool:
        """Whether its answer ends before the file does."""
        return self.part.end is not None

    @property
    def is_cut(self) -> bool:
        """Whether we ended it ourselves."""
        return self._cut

    @property
    def is_vain(self) -> bool:
        """Whether nothing has come."""
        return self._at == self._began[1]

    def cut(self) -> None:
        """End it soon, from another thread."""
        self._cut = True
        answer = self._answer
        if answer is not None:
            answer.cut()

    def pace(self, now: float) -> float:
        """Say how many bytes per second come now, as far as it can be told; 0 if it can't."""
        since, count = self._paced
        rate = self.claim.rate or self.mirror.rate
        if self._waits or now - since < 2 * FLUSH_SECONDS:
            return rate
        current = max(count / (now - since), 1.0)
        return min(rate, current) if rate else current

    def run(self, block: memoryview) -> None:
        """Ask, and read what comes into ``block``; afterwards ``self.block`` is the one to use.

        Raises:
            Fault: what went wrong; the download decides what that means.
            Stopped: the centre wants the attempt to end.
        """
        self.block, tally = block, self.mirror.tally
        if tally.out is not None:
            raise tally.out.with_traceback(None)  # it would keep all that ever raised it
        if tally.lost >= TRIES:
            raise Unreachable(f"{tally.host}: cannot be reached, as other files found")
        with self._run.pace.stream(tally.host, self._gone) as stream:
            self.stream = stream
            self._run.pace.request(tally.host, self._gone)
            with tally.request():
                self._ask(stream)

    def _gone(self) -> bool:
        """Whether it need not wait any more."""
        return self._cut

    def _hop(self, host: str) -> None:
        """Wait for the turn of a request that a redirect leads to; that is no fault of anybody."""
        began = monotonic()
        self._run.pace.request(host, self._gone)
        self._hopped += (waited := monotonic() - began)
        self.mirror.tally.waited(waited)

    def _ask(self, stream: Stream) -> None:
        """Send the request; judge and read its answer."""
        tally = self.mirror.tally
        began, self._hopped, stream.asked = monotonic(), 0.0, True
        answer = self._run.web.get(self.mirror.source, self.part.headers(), self._hop)
        tally.heard(monotonic() - began - self._hopped)
        self._answer = answer
        try:
            tally.lost = 0
            body = self._judge(answer)
            tally.answered()
            ranged = answer.status == HTTPStatus.PARTIAL_CONTENT
            if self.keeper.accept(self, body, ranged=ranged) and not self._cut:
                self._receive(answer, body)
        finally:
            stream.asked = not answer.close()
            self._rate()

    def _judge(self, answer: Answer) -> Body:
        """Judge an answer's head; who asks too much hears of it."""
        try:
            return judge(answer.status, answer.headers, self._wanted, self.part)
        except Fault as fault:
            self._run.pace.strained(self.mirror.tally, fault)
            raise

    def _rate(self) -> None:
        """Learn the mirror's pace from an answer that was read too fast to do so on the way."""
        since, first = self._began
        if not self.claim.rate and self.claim.at - first >= GRANULE:
            self.mirror.rate = (self.claim.at - first) / (monotonic() - since)

    def _receive(self, answer: Answer, body: Body) -> None:
        """Read a body up to where the claim ends; a byte has one place in block and granule."""
        check, self._at = self.keeper.check(self.claim), self.claim.at
        self._began = monotonic(), self._at
        self._paced = self._watched = (monotonic(), 0)
        ended = False
        with Behind(apart=self._left >= MUCH) as behind:
            while self._left > 0 and not self._cut and not ended:
                filled, fault = self._fill(answer, body)
                self._bound(self._at + filled, body)
                if fault is None and filled >= self._left and self.claim.end == body.size:
                    self._expect_end(answer)
                self._hand_over(filled, check, behind)
                if fault is not None:
                    raise fault
                ended = not filled
        if ended:
            self.keeper.ended(self, body)

    @property
    def _left(self) -> int:
        """Bytes still to be read."""
        return self.claim.end - self._at

    def _hand_over(self, filled: int, check: PieceCheck | None, behind: Behind) -> None:
        """Have what was read written, as far as it still belongs to the claim."""
        at, place = self._at, self._at % GRANULE
        with self._run.changed:
            count = 0 if self._cut else self.claim.reserve(at, filled)
        view = self.block[place : place + count]
        if check is not None:
            check.take(view)
        sure = at + count if check is None else check.markable
        full = self.block if place + count == GRANULE else None
        behind.put(partial(self._store, at - place, view, sure, full))
        self._at += count
        if full is not None:
            self.block = behind.block()

    def _store(
        self, granule: int, view: memoryview, sure: int, full: memoryview | None
    ) -> memoryview | None:
        """Write and count what was read; of a granule that is ``full`` now, pass the block on."""
        try:
            self._write(view)
            self.keeper.took(self, len(view), sure)
        except BaseException:
            if self._answer is not None:
                self._answer.cut()  # whoever reads may be waiting for a silent source
            raise
        if full is None or granule < self._began[1] or self._cut:
            return full
        return self.keeper.spare(granule, full)

    def _fill(self, answer: Answer, body: Body) -> tuple[int, Fault | None]:
        """Read what comes until it is worth a write: how many bytes, and what broke it off.

        It ends with a granule, so that no whole one waits here where a crash would take it.
        """
        buffer = self.block[self._at % GRANULE :]
        most = min(len(buffer), self._left)
        allowed, filled, until = self._allow(most), 0, monotonic() + FLUSH_SECONDS
        readinto, count = answer.readinto, 1  # TLS gives 16 KiB at a time: the loop must be short
        try:
            while filled < allowed and count and (not filled or monotonic() < until):
                count = readinto(buffer[filled:allowed])
                filled += count
        except (TimeoutError, ConnectionError) as error:
            return filled, self._broken_off(error, filled, body)
        finally:
            self._run.pace.give_back(self.mirror.tally.host, allowed - filled)
            self.mirror.tally.came(filled)
        return filled, self._stalled(filled, body)

    def _broken_off(self, error: OSError, count: int, body: Body) -> Fault:
        """Name what ended an answer before its end."""
        ours = self._idled and monotonic() - self._idled < BUFFERED_SECONDS
        if ours or self._run.lease.paused:
            return Again(f"{self.mirror.tally.host}: broke off while we made it wait")
        patience = f"nothing for {self._run.settings.stall_seconds:g} s"
        what = patience if isinstance(error, TimeoutError) else "broke off"
        return Passing(f"{self._so_far(count, body)} and then {what}")

    def _allow(self, count: int) -> int:
        """Wait until the budget allows some bytes; that is no fault of the source."""
        tally, began = self.mirror.tally, monotonic()
        self._waits = True
        allowed = self._run.pace.take(tally.host, count, self._gone)
        self._waits = False
        waited = monotonic() - began
        if waited > IDLE_SECONDS:
            self._idled = monotonic()
        if waited > FLUSH_SECONDS / 10:
            tally.waited(waited)
            self._watched = (self._watched[0] + waited, self._watched[1])
        return allowed

    def _stalled(self, count: int, body: Body) -> Passing | None:
        """Note what came; say so if it is too little."""
        now = monotonic()
        since, before = self._paced
        if now - since >= FLUSH_SECONDS:
            rate = (before + count) / (now - since)
            self.claim.rate = rate if not self.claim.rate else (self.claim.rate + rate) / 2
            self.mirror.rate = self.claim.rate
            self._paced = (now, 0)
        else:
            self._paced = (since, before + count)
        began, came = self._watched
        patience = self._run.settings.stall_seconds
        if now - began < patience:
            self._watched = (began, came + count)
            return None
        self._watched = (now, 0)
        if came + count >= FLOOR * (now - began):
            return None
        told = f"{self._so_far(count, body)}, only {came + count} of them in {patience:g} s"
        return Passing(told)

    def _write(self, view: memoryview) -> None:
        """Write at the claim's place; a full disk is waited for, as long as our patience lasts.

        Raises:
            Local: it stays full.
            OSError: the disk fails us otherwise.
        """
        path, full_since = self._wanted.name, 0.0
        while True:
            try:
                self.keeper.write(view, self.claim)
            except OSError as error:
                now = monotonic()
                full_since = full_since or now
                if error.errno not in _FULL:
                    raise
                if now - full_since >= self._run.settings.full_disk_seconds:
                    raise Local(f"this host cannot store {path}: {error.strerror}") from error
            else:
                break
            self._run.say(f"this host's disk is full: {path} waits for room")
            self._run.lease.check()
            sleep(FULL_POLL_SECONDS)
        if full_since:
            self._idled = monotonic()
            self._run.say("")

    def _bound(self, came: int, body: Body) -> None:
        """Read no file without end.

        Raises:
            Worthless: it has more than the order allows.
        """
        limit = self._run.order.max_bytes
        if body.size is None and limit and came > limit:
            raise Worthless(f"{self.mirror.tally.host}: sends more than the {limit} bytes expected")

    def _expect_end(self, answer: Answer) -> None:
        """Read a body that tells no length to its end.

        Raises:
            Worthless: there is more than was expected.
        """
        if "content-length" in answer.headers:
            return
        try:
            more = answer.readinto(memoryview(bytearray(1)))
        except (TimeoutError, ConnectionError):
            return
        if more:
            host, size = self.mirror.tally.host, self.claim.end
            raise Worthless(f"{host}: sends more than the {size} bytes expected")

    def _so_far(self, count: int, body: Body) -> str:
        whole = "" if body.size is None else f" of {body.size}"
        return f"{self.mirror.tally.host}: sent {self._at + count}{whole} bytes"
