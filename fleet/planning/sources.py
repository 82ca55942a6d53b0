"""From where a site shall fetch something: fleet copies before origins, the fastest first."""

from collections.abc import Iterable

from fleet.planning.facts import SourceFacts

_UNMEASURED = 50e6  # bytes/s: try a host that never served yet before one known to be slower


def rank(sources: Iterable[SourceFacts]) -> list[tuple[SourceFacts, str]]:
    """Order sources, best first, each with the reason for its place."""
    return [(source, _why(source)) for source in sorted(sources, key=_worth)]


def _worth(source: SourceFacts) -> tuple[bool, float, str]:
    speed = _UNMEASURED if source.bytes_per_second is None else source.bytes_per_second
    return (source.site is None, -speed * (1 - source.error_share), source.url)


def _why(source: SourceFacts) -> str:
    place = f"a verified copy at {source.site}" if source.site else "an origin outside the fleet"
    if source.bytes_per_second is None:
        return f"{place}, not measured yet"
    return (
        f"{place}, {source.bytes_per_second / 1e6:.1f} MB/s with "
        f"{source.error_share:.0%} errors lately"
    )
