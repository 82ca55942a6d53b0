"""To which mirrors those who ask for a file are sent, in which order, and why not to the others.

Rules this module keeps:

- A mirror is a copy as good as a web seed's has to be (``webseeds``): verified, in no doubt, its
  site not at fault, and seen to serve by another site.  There is no other way in.
- A provider that asked to be left alone comes last.  Of the others who is worth most comes first:
  its speed, as far as a single reader can use it, times what speaks against it (``sources``),
  doubled on the continent of who asks and doubled again in that country.
- Mirrors whose worth is about the same are dealt out by lot: which is first for one file is not
  for another, and always the same for one file.
"""

import hashlib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from fleet.planning.countries import continent
from fleet.planning.facts import Choice, SourceFacts, WebSeedFacts
from fleet.planning.reading import Reading
from fleet.planning.sources import against, measured, part, speed
from fleet.planning.states import ReplicaState
from fleet.planning.webseeds import unread

LOTS: Final = 16
_ENOUGH = 12.5e6  # bytes/s; more than 100 Mbit/s is of use to few
_NEAR = 2
_STEPS = 2  # to each doubling: what lies within one of them is worth about the same


@dataclass(frozen=True, slots=True)
class MirrorFacts:
    """What is known of a site that may be a mirror, and how it is read."""

    source: SourceFacts
    reading: Reading
    country: str = ""
    jurisdiction: str = ""


@dataclass(frozen=True, slots=True)
class Copy:
    """What is believed of a copy at a site; ``proved``: another site saw that it is served."""

    site: str
    state: ReplicaState
    proved: bool


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks: the country it is in, and whose law its mirrors should answer to, if known."""

    country: str = ""
    jurisdictions: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Ranking:
    """The mirrors, best first, and the other copies, each with its reason."""

    used: tuple[Choice, ...] = ()
    unused: tuple[Choice, ...] = ()


def rank(
    copies: Iterable[Copy], sites: Mapping[str, MirrorFacts], asker: Asker, lot: int = 0
) -> Ranking:
    """Put the mirrors of a file in order.

    Args:
        copies: all copies of its shard.
        sites: what is known of the sites that are there.
        asker: who asks.
        lot: which of ``LOTS`` fell to the file.
    """
    used, unused = [], []
    for copy in copies:
        site = sites.get(copy.site)
        if reason := _left_out(copy, site):
            unused.append(Choice(copy.site, reason))
        elif site is not None:
            used.append((_place(copy.site, site, asker, lot), _why(site, asker)))
    ordered = sorted(used, key=lambda one: one[0])
    return Ranking(tuple(Choice(place[-1], why) for place, why in ordered), tuple(unused))


def _left_out(copy: Copy, site: MirrorFacts | None) -> str:
    if site is None:
        return "its site is retired"
    facts = WebSeedFacts(copy.state, bool(site.source.url), copy.proved, site.source.incident)
    return unread(facts)


def _place(name: str, site: MirrorFacts, asker: Asker, lot: int) -> tuple[bool, int, bytes, str]:
    source = _for(site, asker)
    worth = min(speed(source), _ENOUGH) * part(source) * _NEAR ** _nearness(site, asker)
    drawn = hashlib.blake2b(f"{lot} {name}".encode(), digest_size=8).digest()
    return (bool(source.spent), -round(math.log2(max(worth, 1)) * _STEPS), drawn, name)


def _nearness(site: MirrorFacts, asker: Asker) -> int:
    if not asker.country:
        return 0
    if site.country == asker.country:
        return 2
    here = continent(asker.country)
    return 1 if here and continent(site.country) == here else 0


def _for(site: MirrorFacts, asker: Asker) -> SourceFacts:
    """Add what a source is for who asks."""
    wanted = asker.jurisdictions
    elsewhere = wanted and site.jurisdiction and site.jurisdiction not in wanted
    return replace(site.source, abroad=site.jurisdiction if elsewhere else "")


def _why(site: MirrorFacts, asker: Asker) -> str:
    source = _for(site, asker)
    near = ("", "on the same continent", "in the same country")[_nearness(site, asker)]
    spent = f"last for now: {source.spent}" if source.spent else ""
    said = ("a verified copy", near, measured(source), spent, *against(source))
    return ", ".join(one for one in said if one)
