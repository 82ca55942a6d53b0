"""The plain values that decisions are made from."""

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from fleet.planning.states import ReplicaState


@dataclass(frozen=True, slots=True)
class SiteFacts:
    """What planning knows of a site; ``free`` is in bytes, None where nobody counts them.

    ``incident`` says what is wrong with the site as a whole; empty where nothing is.  ``retired``
    is one that is to be: of those that are, planning is told nothing.  ``goes_with`` names a site
    that a gateway fronts and that is retired, or is to be: then the gateway is, for planning.
    """

    id: str
    kind: str
    driver: str
    region: str = ""
    country: str = ""
    jurisdiction: str = ""
    operator: str = ""
    provider: str = ""
    arch: str = ""
    trusted: bool = False
    retired: bool = False
    goes_with: str = ""
    silent: bool = False
    fronts: tuple[str, ...] = ()
    free: int | None = None
    queued: int = 0
    speed_mbps: int | None = None
    incident: str = ""


@dataclass(frozen=True, slots=True)
class RuleFacts:
    """What must hold; ``copies`` None asks for every site that matches.

    Of what is not ``citable`` no record with a DOI is made.
    """

    copies: int | None = None
    min_copies: int = 1
    selector: str = ""
    spread_by: tuple[str, ...] = ()
    citable: bool = True


class ReplicaFacts(NamedTuple):
    """What is believed of a shard at one site; ``tombstone``: it is to be dropped after a while."""

    site: str
    state: ReplicaState
    tombstone: bool = False


@dataclass(frozen=True, slots=True)
class FileFacts:
    """One artifact, as far as cutting shards is concerned; ``alone``: with no other in a bundle."""

    id: str
    path: str
    size: int
    alone: bool = False


@dataclass(frozen=True, slots=True)
class SwarmFacts:
    """Who takes part in a shard's torrent besides the site that asks.

    ``holders`` have the shard, ``fetchers`` are getting it.  Of both, ``dialled`` can be dialled;
    ``dials_back`` says whether the others can dial the site that asks.  ``web_seeds`` counts those
    that the torrent brings along where no copies over HTTP are sources beside it.
    """

    holders: int = 0
    fetchers: int = 0
    dialled: int = 0
    dials_back: bool = False
    web_seeds: int = 0


@dataclass(frozen=True, slots=True)
class SourceFacts:
    """One place bytes can be had from, how it has served before, and what speaks against it.

    ``bytes_per_second`` is None where it never served yet; of a torrent, ``swarm`` tells more.
    ``incident`` is its site's open one, ``spent`` why nothing may be asked of its provider now,
    ``busy`` why its site is better not asked now.  ``left`` is the part of its provider's budget
    that nobody uses, ``weight`` how gladly that is asked.  ``abroad`` names the jurisdiction that
    it answers to where the one who asks answers to another; ``egress`` is in US$ a GB.
    """

    url: str
    site: str | None
    bytes_per_second: float | None = None
    error_share: float = 0.0
    swarm: SwarmFacts | None = None
    incident: str = ""
    spent: str = ""
    busy: str = ""
    provider: str = ""
    left: float = 1.0
    weight: float = 1.0
    abroad: str = ""
    egress: float = 0.0


@dataclass(frozen=True, slots=True)
class WebSeedFacts:
    """What makes a copy a web seed: ``proved`` by another site, ``incident`` if one is open.

    ``single`` says that its torrent is a lone file's.
    """

    state: ReplicaState
    readable: bool
    proved: bool
    incident: str = ""
    driver: str = ""
    single: bool = False


@dataclass(frozen=True, slots=True)
class WindowFacts:
    """A daily window in a zone's local time, ``HH:MM`` to ``HH:MM``; it may cross midnight."""

    timezone: str
    opens: str
    closes: str


class Choice(NamedTuple):
    """A site chosen for a shard, and why."""

    site: str
    reason: str


@dataclass(frozen=True, slots=True)
class Decision:
    """All sites chosen for a shard; ``short`` says what the rule lacks, empty when it holds.

    ``surplus`` names copies that serve the rule no longer, and why.
    """

    choices: tuple[Choice, ...] = ()
    short: str = ""
    surplus: tuple[Choice, ...] = ()


@dataclass(frozen=True, slots=True)
class Wait:
    """Why something does not happen now, and when it will be looked at again."""

    reason: str
    until: datetime | None = None
