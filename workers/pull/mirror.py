"""One source of one item, and what we think of it: pure.

Decisions this module takes:

- An answer that brings ``ENOUGH`` new bytes may be followed by another at once, as often as it
  takes; after ``TRIES`` answers in a row that do not, the source is out.
- A host that ``TRIES`` items in a row could not reach is not asked again in this attempt: a list
  of thousands of its files would take hours to say the same.
- Copies of the fleet are asked before origins, and several of one kind at once: an origin is only
  troubled once no copy is of use.  A copy that is ranked after an origin counts as one.
"""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from fleet.messages import Item, Source
from workers.pull.answers import Validator
from workers.pull.extents import GRANULE, MOST_AUTHORS
from workers.pull.faults import Fault, Passing, Unreachable
from workers.pull.journal import Author
from workers.pull.tally import Tallies, Tally

ENOUGH = 64 * 1024
TRIES = 3
FIRST_WAIT = 0.5
MOST_STREAMS = 4  # more to one fast host were measured to be slower
_dice = random.SystemRandom()


@dataclass(eq=False)
class Mirror:
    """A source under way; ``number`` names it as the author of bytes.

    Attributes:
        ranged: it was not yet seen to ignore a range.
        streams: how many of its answers are being read.
        rate: bytes per second of one of them, lately; 0 while unknown.
        came: bytes it brought since all was last begun anew; ``best`` the most of any time before.
        ready_at: when it may be asked again.
        out: why it is of no more use.
        tier: who has a lower one is asked before.
    """

    number: int
    source: Source
    tally: Tally
    validator: Validator = field(default_factory=Validator)
    ranged: bool = True
    streams: int = 0
    rate: float = 0.0
    came: int = 0
    best: int = 0
    strikes: int = 0
    changes: int = 0
    ready_at: float = 0.0
    out: Fault | None = None
    tier: int = 0

    def failed(self, fault: Passing, now: float) -> None:
        """Take a fault that may pass: wait for a while, or be out.

        What breaks several streams at once is one fault.
        """
        if now < self.ready_at:
            return
        gained = self.came - self.best
        self.best = max(self.best, self.came)
        if gained >= ENOUGH:
            self.strikes = 0
            self.ready_at = now + fault.wait
            return
        self.strikes += 1
        if self.strikes >= TRIES or self.tally.lost >= TRIES:
            self.tally.lost += isinstance(fault, Unreachable)
            self.out = fault
            return
        backoff = FIRST_WAIT * 2.0 ** (self.strikes - 1) * _dice.uniform(0.5, 1.0)
        self.ready_at = now + max(fault.wait, backoff)
        if isinstance(fault, Unreachable) or fault.wait:
            self.tally.rest(fault, now, self.ready_at)

    def is_free(self, now: float, *, spare: bool) -> bool:
        """Whether it may be asked for one more answer.

        Who has brought little yet, failed last, or ignores ranges is asked for one at a time; so is
        everyone while the processors have no time to ``spare``, since then it is not the network
        that we wait for.
        """
        proved = spare and self.ranged and not self.strikes and self.came >= GRANULE
        ready_at = max(self.ready_at, self.tally.ready_at)
        return ready_at <= now and self.streams < (MOST_STREAMS if proved else 1)


def mirrors_of(item: Item, tallies: Tallies, before: Sequence[Author]) -> list[Mirror]:
    """Make the mirrors of an item, best ranked first.

    Those that an earlier attempt knew (``before``) keep their numbers, and what they said.
    """
    numbers = {author.url: number for number, author in enumerate(before, 1)}
    mirrors: list[Mirror] = []
    sources: dict[str, Source] = {}
    for source in item.sources:
        if source.kind == "http":
            sources.setdefault(source.url, source)
    for source in sources.values():
        number = numbers.setdefault(source.url, len(numbers) + 1)
        if number > MOST_AUTHORS:
            break
        mirror = Mirror(number, source, tallies.of(source))
        if source.site is None or any(one.tier for one in mirrors):
            mirror.tier = 1
        if number <= len(before):
            author = before[number - 1]
            mirror.validator = Validator(author.etag, author.modified)
        mirrors.append(mirror)
    return mirrors


def in_use(mirrors: Iterable[Mirror]) -> list[Mirror]:
    """Choose whom to ask at all: those of the best kind that are not out."""
    left = [one for one in mirrors if one.out is None]
    best = min((one.tier for one in left), default=0)
    chosen = [one for one in left if one.tier == best]
    ranged = [one for one in chosen if one.ranged]
    return ranged or chosen[:1]


def pick(mirrors: Sequence[Mirror], now: float, *, spare: bool) -> Mirror | None:
    """Choose whom to ask next: who is ready and has the fewest streams, the best ranked first."""
    ready = [one for one in mirrors if one.is_free(now, spare=spare)]
    return min(ready, key=lambda one: one.streams, default=None)


def typical_rate(mirrors: Iterable[Mirror]) -> float:
    """Guess the pace of a source that has none yet: that of the others."""
    rates = [one.rate for one in mirrors if one.rate > 0]
    return sum(rates) / len(rates) if rates else 0.0
