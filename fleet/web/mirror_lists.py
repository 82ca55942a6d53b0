"""The mirrors of a file as people and programs are shown them: each copy, and why it is used."""

from dataclasses import dataclass
from datetime import datetime

from fleet.control.editions import Found
from fleet.control.snapshot import Standing
from fleet.planning.redirect import Asker


@dataclass(frozen=True, slots=True)
class MirrorLine:
    """A site with a copy; without ``url`` nobody is sent there, and ``reason`` says why."""

    site: str
    country: str
    url: str
    reason: str


@dataclass(frozen=True, slots=True)
class MirrorList:
    """A file, and all its copies: those that are used, best first, and the others."""

    dataset: str
    version: str
    path: str
    size: int
    sha256: str
    doi: str
    used: tuple[MirrorLine, ...]
    unused: tuple[MirrorLine, ...]
    stale_since: datetime | None


def mirror_list(
    found: Found, asker: Asker, standing: Standing, stale_since: datetime | None
) -> MirrorList:
    """Show a file's mirrors, as they rank for who asks."""
    ranking = standing.rank(found, asker)
    return MirrorList(
        dataset=found.edition.dataset,
        version=found.edition.label,
        path=found.path,
        size=found.size,
        sha256=found.sha256.hex(),
        doi=found.edition.doi,
        used=tuple(
            MirrorLine(
                one.site, standing.country(one.site), standing.url(found, one.site), one.reason
            )
            for one in ranking.used
        ),
        unused=tuple(
            MirrorLine(one.site, standing.country(one.site), "", one.reason)
            for one in ranking.unused
        ),
        stale_since=stale_since,
    )
