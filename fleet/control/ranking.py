"""Sources in the order that planning gives them, with the reasons that are kept of it."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime

from sqlalchemy import bindparam
from sqlmodel import Session, select

from fleet.control import incidents, windows
from fleet.control.budgets import Books
from fleet.control.sources import Swarm
from fleet.messages import Source
from fleet.planning.facts import SourceFacts
from fleet.planning.providers import host_of
from fleet.planning.sources import rank
from fleet.planning.windows import Work, turn
from fleet.store.tables import Site, SourceScore

_TORRENT = "torrent"  # what it is called among the hosts


_SCORES = select(SourceScore).where(SourceScore.observer_id == bindparam("site"))


class Ranking:
    """Ranks sources for one site: by how they served it before, and what is known of them now."""

    def __init__(
        self, session: Session, site: str, now: datetime, torrent: Swarm | None = None
    ) -> None:
        """Rank for ``site``, with a torrent beside the sources of each item."""
        rows = session.exec(_SCORES, params={"site": site}).all()
        self._scores = {row.host: row for row in rows}
        self._incidents = incidents.reasons(session)
        self._session = session
        self._now = now
        self._home = session.get_one(Site, site).jurisdiction
        self._books = Books(session, now)
        self._torrent = torrent
        self._reasons: dict[str, str] = {}
        self._by_host: dict[tuple[str, str | None], SourceFacts] = {}

    def order(self, sources: Iterable[Source]) -> tuple[Source, ...]:
        """Return the sources, and the torrent where it is one, best first."""
        by_url = {source.url: source for source in (*sources, *self._swarm())}
        ranked = rank(self._facts(source) for source in by_url.values())
        for one, reason in ranked:
            self._reasons.setdefault(_TORRENT if one.swarm else host_of(one.url), reason)
        return tuple(by_url[one.url] for one, _ in ranked)

    @property
    def places(self) -> list[dict[str, str]]:
        """The hosts in the order they came up, and the reasons for their places."""
        ranked = [
            {"host": host, "state": "ranked", "reason": reason}
            for host, reason in self._reasons.items()
        ]
        if self._torrent is None or not self._torrent.left_out:
            return ranked
        reason = self._torrent.left_out
        return [*ranked, {"host": _TORRENT, "state": "left out", "reason": reason}]

    def _swarm(self) -> Sequence[Source]:
        if self._torrent is None or self._torrent.left_out:
            return ()
        return (Source(kind="torrent", url=self._torrent.magnet),)

    def _facts(self, source: Source) -> SourceFacts:
        """Return what is known of a source; all but its URL is of its host, and found once."""
        if self._torrent is not None and source.kind == "torrent":
            return SourceFacts(source.url, source.site, swarm=self._torrent.facts)
        host = host_of(source.url)
        key = (host, source.site)
        if key not in self._by_host:
            self._by_host[key] = self._of_site(self._of_host(host, source))
        return replace(self._by_host[key], url=source.url)

    def _of_host(self, host: str, source: Source) -> SourceFacts:
        found = SourceFacts(source.url, source.site)
        if (score := self._scores.get(host)) is not None:
            found = replace(
                found, bytes_per_second=score.bytes_per_second, error_share=score.error_share
            )
        provider = self._books.of(host)
        if provider is None:
            return found
        wait = self._books.wait(provider)
        return replace(
            found,
            provider=provider.name,
            left=self._books.left(provider),
            weight=provider.weight,
            spent=wait.reason if wait else "",
        )

    def _of_site(self, found: SourceFacts) -> SourceFacts:
        """Add what is known of the site whose copy it is."""
        if found.site is None:
            return found
        site = self._session.get_one(Site, found.site)
        quiet = turn(windows.of(self._session, site), self._now, Work())
        elsewhere = self._home and site.jurisdiction and site.jurisdiction != self._home
        return replace(
            found,
            incident=self._incidents.get(site.id, ""),
            busy="" if quiet.goes else f"{site.id} {quiet.reason}",
            abroad=site.jurisdiction if elsewhere else "",
            egress=site.egress_usd_per_gb,
        )
