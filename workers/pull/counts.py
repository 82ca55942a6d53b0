"""What a fetch or mend by BitTorrent came to, laid on the swarm and on each web seed's host."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from fleet.messages import Source
from workers.lease import Lease
from workers.pull.faults import Bad, plain
from workers.pull.tally import Tallies
from workers.seeder.effort import Progress, SeederError
from workers.swarm import Swarm


class SwarmCounts:
    """The counters of one fetch or mend."""

    def __init__(
        self, tallies: Tallies, lease: Lease, swarm: Swarm, sources: Sequence[Source]
    ) -> None:
        """Count into ``tallies``; a web seed that one of ``sources`` begins with is that site's."""
        self._tallies = tallies
        self._tally = tallies.named(swarm.name)
        self._lease = lease
        self._sources = sources
        self._seen = Progress(state="checking")

    @contextmanager
    def under_way(self) -> Iterator[None]:
        """Count the time that it takes, and what kept it from being done."""
        with self._tally.request():
            try:
                yield
            except SeederError as error:
                self._tally.blame(Bad(f"{self._tally.host}: {plain(str(error))}"))
                raise

    def take(self, progress: Progress) -> None:
        """Count what is new in a progress."""
        before, self._seen = self._seen, progress
        came = max(0, progress.payload - before.payload)
        self._lease.advance(came)
        for at, seed in enumerate(progress.web):
            old = before.web[at] if at < len(before.web) else None
            if old == seed or not (seed.bytes or seed.error):
                continue
            tally = self._tallies.beside(seed.url, self._sources)
            more = max(0, seed.bytes - (old.bytes if old else 0))
            tally.came(more)
            came -= more
            if seed.error and (old is None or old.error != seed.error):
                tally.blame(Bad(f"{tally.host}: {plain(seed.error)}"), plain(seed.evidence))
        self._tally.came(max(0, came))
        if progress.fault and progress.fault != before.fault:
            self._tally.blame(Bad(plain(progress.fault)), plain(progress.evidence))


def waits_for(progress: Progress, swarm: Swarm) -> str:
    """Say what it waits for; empty while it goes on."""
    if progress.state == "checking":
        return f"{swarm.name}: checks what is here"
    if progress.state == "fetching" and not progress.peers and not progress.payload:
        return f"{swarm.name}: waits for a peer"
    return ""
