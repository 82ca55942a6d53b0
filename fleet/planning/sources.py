"""From where a site shall fetch something: fleet copies over HTTP, then the torrent, then origins.

Rules this module keeps:

- Whatever its kind, who has an open incident, or whose provider may not be asked now, comes last.
- Of a kind, who is worth most comes first: what it brought in a second, as far as that went well,
  times what speaks against it.  That is a window in which its site carries no bulk traffic, a
  jurisdiction other than that of who asks, what its egress costs, how little of its provider's
  budget is left, and how gladly that provider is asked.
- A torrent through which nobody can be reached is left out.
"""

from collections.abc import Iterable

from fleet.planning.facts import SourceFacts, SwarmFacts

_BUSY = 0.25  # a source within its site's busy hours counts as a quarter as fast
_ABROAD = 0.75
_DEAR = 10.0  # US$ 0.1 a GB halves what a source is worth
_LEAST_LEFT = 0.05
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


def speed(source: SourceFacts) -> float:
    """Return the bytes a second that a source is expected to bring."""
    return _UNMEASURED if source.bytes_per_second is None else source.bytes_per_second


def part(source: SourceFacts) -> float:
    """Return which part of its speed a source is worth, after what speaks against it."""
    worth = (1 - source.error_share) * source.weight * max(source.left, _LEAST_LEFT)
    worth *= (_BUSY if source.busy else 1) * (_ABROAD if source.abroad else 1)
    return worth / (1 + _DEAR * source.egress)


def against(source: SourceFacts) -> list[str]:
    """List what makes a source worth less than its speed says."""
    said = [source.busy]
    if source.provider and not source.spent and source.left < 1:
        said.append(f"{source.left:.0%} of the budget of {source.provider} are free")
    if source.weight < 1:
        said.append(f"{source.provider} is spared where others are as fast")
    if source.abroad:
        said.append(f"answers to {source.abroad}")
    if source.egress:
        said.append(f"US$ {source.egress:g} a GB")
    return said


def measured(source: SourceFacts) -> str:
    """Say how a source has served before."""
    if source.bytes_per_second is None:
        return "not measured yet"
    return f"{source.bytes_per_second / 1e6:.1f} MB/s with {source.error_share:.0%} errors lately"


def _worth(source: SourceFacts) -> tuple[bool, int, float, str]:
    kind = 0 if source.site is not None else 2 if source.swarm is None else 1
    worth = speed(source) * part(source)
    return (bool(source.incident or source.spent), kind, -worth, source.url)


def _why(source: SourceFacts) -> str:
    if source.swarm is not None:
        return _who(source.swarm)
    place = f"a verified copy at {source.site}" if source.site else "an origin outside the fleet"
    last = f"last, because of an incident: {source.incident}" if source.incident else ""
    spent = f"last for now: {source.spent}" if source.spent else ""
    said = (place, measured(source), last, spent, *against(source))
    return ", ".join(one for one in said if one)


def _who(swarm: SwarmFacts) -> str:
    dialled = f"{swarm.dialled} of them can be dialled"
    if not swarm.dialled and swarm.dials_back:
        dialled = "they dial this site"
    seeds = f", {swarm.web_seeds} web seeds" if swarm.web_seeds else ""
    return f"its torrent: {swarm.holders} seeding, {swarm.fetchers} fetching, {dialled}{seeds}"
