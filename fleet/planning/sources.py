"""From where a site shall fetch something: fleet copies over HTTP, then the torrent, then origins.

Of a kind, the fastest comes first.  A copy at a site with an incident comes last of all.  A torrent
through which nobody can be reached is left out.
"""

from collections.abc import Iterable

from fleet.planning.facts import SourceFacts, SwarmFacts

_UNMEASURED = 50e6  # bytes/s: try a host that never served yet before one known to be slower


def rank(sources: Iterable[SourceFacts]) -> list[tuple[SourceFacts, str]]:
    """Order sources, best first, each with the reason for its place."""
    return [(source, _why(source)) for source in sorted(sources, key=_worth)]


def unreachable(swarm: SwarmFacts) -> str:
    """Say why a torrent would bring a site nothing; empty if it may bring something."""
    if swarm.web_seeds:
        return ""
    if not swarm.holders and not swarm.fetchers:
        return "nobody else seeds it"
    if not swarm.dialled and not swarm.dials_back:
        return "neither who seeds it nor this site has an address that could be dialled"
    return ""


def nobody(site: str, without_origin: int, swarm: SwarmFacts) -> str:
    """Say why a site can have a shard, of which no copy is read over HTTP, from nobody.

    It is empty while somebody may give it; ``without_origin`` counts the files that have none.
    """
    lacks = unreachable(swarm)
    if not lacks and not swarm.holders and not swarm.web_seeds:
        lacks = "nobody seeds it, and others wait for it as well"
    if not without_origin or not lacks:
        return ""
    files = "1 file has" if without_origin == 1 else f"{without_origin} files have"
    return (
        f"{site} can get it from nobody: no verified copy is read over HTTP, {files} no origin "
        f"left, and as to its torrent: {lacks}"
    )


def _worth(source: SourceFacts) -> tuple[int, float, str]:
    kind = 0 if source.site is not None else 2 if source.swarm is None else 1
    kind = 3 if source.incident else kind
    speed = _UNMEASURED if source.bytes_per_second is None else source.bytes_per_second
    return (kind, -speed * (1 - source.error_share), source.url)


def _why(source: SourceFacts) -> str:
    if source.swarm is not None:
        return _who(source.swarm)
    place = f"a verified copy at {source.site}" if source.site else "an origin outside the fleet"
    if source.incident:
        return f"{place}, as a last resort: {source.incident}"
    if source.bytes_per_second is None:
        return f"{place}, not measured yet"
    return (
        f"{place}, {source.bytes_per_second / 1e6:.1f} MB/s with "
        f"{source.error_share:.0%} errors lately"
    )


def _who(swarm: SwarmFacts) -> str:
    dialled = f"{swarm.dialled} of them can be dialled"
    if not swarm.dialled and swarm.dials_back:
        dialled = "they dial this site"
    seeds = f", {swarm.web_seeds} web seeds" if swarm.web_seeds else ""
    return f"its torrent: {swarm.holders} seeding, {swarm.fetchers} fetching, {dialled}{seeds}"
