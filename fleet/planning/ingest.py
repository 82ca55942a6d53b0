"""Who fetches what from the origins: every artifact once, small and unknown ones in batches."""

from collections.abc import Sequence
from dataclasses import dataclass

from fleet.planning import selector
from fleet.planning.facts import RuleFacts, SiteFacts
from fleet.planning.placement import obstacle

BATCH_FILES = 32
BATCH_BYTES = 256 * 1024 * 1024
BATCHES = 20  # at least so many while there are files: any one of them may be large or slow
UNKNOWN_BYTES = 8 * 1024 * 1024  # what a file of unknown size is reckoned at


@dataclass(frozen=True, slots=True)
class Wanted:
    """An artifact to ingest.

    ``size`` is None where its origin did not say; ``tried`` names sites that could not do it.
    """

    id: str
    size: int | None
    tried: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Batch:
    """Artifacts that one transfer fetches, the site that does it, and why that one."""

    site: str
    artifacts: tuple[str, ...]
    size: int
    reason: str


def assign(
    wanted: Sequence[Wanted], rule: RuleFacts, sites: Sequence[SiteFacts]
) -> tuple[list[Batch], str]:
    """Share the artifacts out over the sites that the rule allows, least loaded first.

    A site that answers no wake-up is asked only where no other fits.  Returns the batches, and a
    reason when some artifacts found no site; the others go on.
    """
    matches = selector.parse(rule.selector)
    able = [site for site in sites if matches(site) and site.kind == "node"]
    load = {site.id: site.queued for site in able}
    taken = dict.fromkeys(load, 0)
    batches: list[Batch] = []
    short = ""
    for group in _group(wanted):
        size = sum(_reckoned(one) for one in group)
        fit = [site for site in able if not obstacle(site, taken[site.id] + size)]
        if not fit:
            blocked = "; ".join(filter(None, (obstacle(site, size) for site in able)))
            why = blocked or f"no node matches {rule.selector!r}"
            short = short or f"no site can fetch it from its origin: {why}"
            continue
        best = min(
            fit,
            key=lambda site: (
                site.id in group[0].tried,
                site.silent,
                load[site.id] / (site.speed_mbps or 1000),
                site.id,
            ),
        )
        load[best.id] += size
        taken[best.id] += size
        reason = f"{best.id} has the least to do of {len(fit)} sites that may hold it"
        batches.append(Batch(best.id, tuple(one.id for one in group), size, reason))
    return batches, short


def _reckoned(one: Wanted) -> int:
    return UNKNOWN_BYTES if one.size is None else one.size


def _group(wanted: Sequence[Wanted]) -> list[list[Wanted]]:
    groups: list[list[Wanted]] = []
    held, most = 0, min(BATCH_FILES, max(1, len(wanted) // BATCHES))
    for one in wanted:
        size = _reckoned(one)
        last = groups[-1] if groups else []
        full = held + size > BATCH_BYTES or len(last) >= most
        if full or not last or last[0].tried != one.tried:
            groups.append([])
            held = 0
        groups[-1].append(one)
        held += size
    return groups
