"""One item from one source: asked, resumed and asked again, until it is whole or hopeless.

Decisions this module takes:

- An answer that brings ``ENOUGH`` new bytes may be followed by another at once, as often as it
  takes; after ``TRIES`` answers in a row that do not, the source is given up.
- A host that ``TRIES`` items in a row could not reach is not asked again in this attempt: a list
  of thousands of its files would take hours to say the same.
- A file that changes while it is read is begun again once; if it changes once more, the source
  is given up with both states named.
- A digest that does not match is no proof against the source if the bytes are not all of one
  answer of its own: the file is pulled once more, clean, from this source alone.  Then it is.
"""

import asyncio
import random

import httpx

from fleet.messages import Item, Source
from workers.digests import BLOCK, Found, mismatch, pieces_of
from workers.pull.answers import Body, Part, Wanted, continuable, judge, looks_like_page, page
from workers.pull.faults import Bad, Changed, Local, Passing, Unreachable, Worthless
from workers.pull.lanes import Lane, in_thread
from workers.pull.partial import Partial
from workers.pull.run import Run
from workers.pull.web import NETWORK_ERRORS

ENOUGH = 64 * 1024
TRIES = 3
FIRST_WAIT = 0.5
_dice = random.SystemRandom()


class Course:
    """The way of one item from one source into its partial."""

    def __init__(self, run: Run, item: Item, source: Source, partial: Partial) -> None:
        self._run = run
        self._source = source
        self._item = item
        self._partial = partial
        self._tally = run.tallies.of(source)
        self._wanted = Wanted(
            host=self._tally.host,
            name=item.path,
            size=item.size,
            limit=run.order.max_bytes,
            proven=item.sha256 is not None,
        )
        self._best = partial.good
        self._strikes = 0
        self._changes = 0
        self._own = False  # whether the partial's first byte came in this course
        self._clean = False

    async def go(self) -> Found:
        """Pull until the file is whole and its digests are right.

        Raises:
            Refused, Bad, Passing: this source cannot give it now; the message says why.
            Local: this host cannot take it.
            Stopped: the centre wants the attempt to end.
        """
        while True:
            try:
                with self._tally.faults():
                    found = await self._try()
            except Worthless:
                await in_thread(self._partial.discard)
                raise
            except Passing as fault:
                await self._wait(fault)
            else:
                if found is not None:
                    return found

    async def _try(self) -> Found | None:
        """Ask once; None if the file has to be begun again."""
        try:
            await self._fill()
        except Changed as fault:
            await in_thread(self._partial.discard)
            self._note_change(fault)
            return None
        return await self._prove()

    async def _fill(self) -> None:
        """Read one answer into the partial; return once the file is whole."""
        partial, url = self._partial, self._source.url
        part = partial.part(url)
        if not continuable(part, proven=self._wanted.proven):
            part = Part()  # what is held stays until this source has something better
        elif partial.whole:
            return
        if self._tally.lost >= TRIES:
            raise Unreachable(f"{self._tally.host}: cannot be reached, as other files found")
        with self._tally.request():
            response = await self._run.web.get(self._source, part.headers())
            self._tally.lost = 0
            try:
                body = judge(response.status_code, response.headers, self._wanted, part)
                await self._place(part, body)
                await self._receive(response, body)
            finally:
                await response.aclose()

    async def _place(self, part: Part, body: Body) -> None:
        """Make the partial ready for a body: after what is held, or in its stead."""
        if body.start:
            self._partial.proceed(self._source.url, body.size, body.validator)
        else:
            if self._partial.kept:
                await in_thread(self._partial.discard)
            if not self._own:
                self._own, self._best = True, 0
            self._partial.begin(self._source.url, body.size, body.validator)
            if part.same_url and part.validator.differs(body.validator):
                states = f"({part.validator}, then {body.validator})"
                self._note_change(Changed(f"{self._tally.host}: its file changed {states}"))
        if body.size is not None:
            needed, free = body.size - body.start, self._run.storage.free()
            if needed > free:
                raise Local(f"{needed} bytes are still needed; this host's disk has {free} free")

    async def _receive(self, response: httpx.Response, body: Body) -> None:
        """Read a body to its end, through the digests, to the disk."""
        lane = Lane(self._partial.write)
        chunks: list[bytes] = []
        held, got = 0, body.start
        try:
            async for chunk in response.aiter_raw():
                got += len(chunk)
                self._bound(got, body)
                chunks.append(chunk)
                held += len(chunk)
                await self._account(len(chunk))
                if held >= BLOCK:
                    await lane.put(chunks)
                    chunks, held = [], 0
        except httpx.TimeoutException as error:
            patience = f"{self._run.settings.stall_seconds:g} s"
            raise Passing(f"{self._so_far(got, body)} and then nothing for {patience}") from error
        except NETWORK_ERRORS as error:
            raise Passing(f"{self._so_far(got, body)} and then broke off") from error
        finally:
            if chunks:
                await lane.put(chunks)
            await lane.drain()
        if body.size is None:
            self._partial.complete()
        elif got < body.size:
            raise Passing(f"{self._so_far(got, body)} and then ended")

    async def _account(self, count: int) -> None:
        """Count bytes that came, and keep the pace; our own waiting is not the source's time."""
        self._tally.bytes += count
        self._run.lease.advance(count)
        self._tally.seconds -= await self._run.pace.take(count)

    def _bound(self, got: int, body: Body) -> None:
        limit = self._run.order.max_bytes if body.size is None else body.size
        if limit and got > limit:
            raise Worthless(f"{self._tally.host}: sends more than the {limit} bytes expected")

    async def _prove(self) -> Found | None:
        """Check the whole file; None asks for one more, clean, pull."""
        partial, order = self._partial, self._run.order
        found = await in_thread(partial.finish, lambda size: pieces_of(order, size))
        wrong = mismatch(self._item, found)
        if (wrong or not self._wanted.proven) and looks_like_page(self._item.path, partial.head()):
            raise Worthless(str(page(self._wanted, "by its first bytes")))
        if not wrong:
            return found
        if self._clean or (self._own and partial.journal.answers == 1):
            raise Worthless(f"{self._tally.host}: sent the wrong bytes ({wrong})")
        await in_thread(partial.discard)
        self._clean, self._best, self._strikes = True, 0, 0
        return None

    async def _wait(self, fault: Passing) -> None:
        """Wait before asking again, or give up."""
        gained = self._partial.good - self._best
        self._best = max(self._best, self._partial.good)
        if gained >= ENOUGH:
            self._strikes = 0
            await asyncio.sleep(fault.wait)
            return
        self._strikes += 1
        if self._strikes >= TRIES or self._tally.lost >= TRIES:
            self._tally.lost += isinstance(fault, Unreachable)
            raise fault
        backoff = FIRST_WAIT * 2.0 ** (self._strikes - 1) * _dice.uniform(0.5, 1.0)
        await asyncio.sleep(max(fault.wait, backoff))

    def _note_change(self, fault: Changed) -> None:
        """Count a change of the source's file while it was read."""
        self._changes += 1
        if self._changes > 1:
            raise Bad(f"{fault}, again and again while it is read") from fault

    def _so_far(self, got: int, body: Body) -> str:
        whole = "" if body.size is None else f" of {body.size}"
        return f"{self._tally.host}: sent {got}{whole} bytes"
