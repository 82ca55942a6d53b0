"""Corrupt files, mended in their places by the site's seeder: what it came to."""

from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from fleet.messages import Item, SourceReport
from fleet.settings import SiteSettings
from workers.lease import Lease
from workers.pull.counts import SwarmCounts, waits_for
from workers.pull.faults import plain
from workers.pull.tally import Tallies
from workers.seeder.effort import Effort, Progress, SeederError
from workers.swarm import Span, has_torrent, spans_of, swarm_of

_log = structlog.get_logger()


@dataclass(frozen=True)
class Mended:
    """What a mend came to.

    Attributes:
        reason: how many pieces were fetched anew, or why none could be.
        written: the runs of the shard's bytes that may have been written to.
        sources: how the swarm and the web seeds behaved.
        bytes_fetched: payload bytes that came.
    """

    reason: str = ""
    written: tuple[Span, ...] = ()
    sources: tuple[SourceReport, ...] = ()
    bytes_fetched: int = 0

    def touches(self, item: Item) -> bool:
        """Whether bytes of ``item`` may have been written to."""
        start = item.offset or 0
        end = start + (item.size or 0)
        return any(first < end and start < after for first, after in self.written)


def mendable(item: Item) -> bool:
    """Whether an item's torrent is named and enough is known to prove that it was mended."""
    known = None not in {item.sha256, item.size, item.offset}
    return known and bool(item.size) and has_torrent(item)


def mend(settings: SiteSettings, lease: Lease, items: Sequence[Item]) -> Mended:
    """Have the seeder fetch the failed pieces of corrupt files anew, where they lie.

    Args:
        settings: this site's.
        lease: asked meanwhile; its budget sets the pace.
        items: what is corrupt; each is ``mendable``.

    Raises:
        Stopped: the lease ended.
    """
    tallies, last = Tallies(), Progress(state="checking")
    try:
        swarm = swarm_of(items)
        assert swarm is not None
        counts = SwarmCounts(tallies, lease, swarm, items[0].sources)

        def told(progress: Progress) -> None:
            nonlocal last
            last = progress
            lease.note = waits_for(progress, swarm)
            counts.take(progress)

        with Effort(settings, lease, "mend", swarm, spans_of(items)) as effort, counts.under_way():
            effort.run(told)
        reason = f"pieces fetched anew by torrent: {last.mended}"
    except (SeederError, ValueError) as error:
        reason = f"not mended by torrent: {plain(str(error))}"
    lease.note = ""
    _log.info("mend", items=len(items), reason=reason)
    return Mended(reason, last.written, tallies.reports(), tallies.bytes)
