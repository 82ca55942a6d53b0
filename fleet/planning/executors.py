"""Who carries out what is to be done at a site that has no worker of its own.

Rules this module keeps:

- Keys go to a trusted node only, and to none that is at fault or goes.
- One that answers no wake-up is asked only where no other is left: it may answer again.  So is one
  that tried in vain already.
- The nearest comes first, in region and then in country; then the one with the least to do.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from fleet.planning.facts import SiteFacts

WHOLE_DRIVERS = frozenset({"zenodo"})
"""Of sites that take whole versions, each as one record: no shard is copied there by itself."""
UNMANNED_DRIVERS = frozenset({"s3", "internet-archive"}) | WHOLE_DRIVERS


@dataclass(frozen=True, slots=True)
class Executor:
    """The site chosen; empty where there is none, and why."""

    site: str
    reason: str


def choose(
    target: SiteFacts,
    sites: Sequence[SiteFacts],
    given: Mapping[str, int] | None = None,
    tried: Collection[str] = (),
) -> Executor:
    """Choose who works for ``target``; ``given`` bytes were given to sites since.

    Those that ``tried`` it already come last.
    """
    given = given or {}
    able = [site for site in sites if not obstacle(site)]
    if not able:
        return Executor("", f"there is no trusted node that could work for {target.id}")

    def rank(site: SiteFacts) -> tuple[bool, bool, bool, bool, int, str]:
        queued = site.queued + given.get(site.id, 0)
        return site.silent, site.id in tried, *_distance(site, target), queued, site.id

    best = min(able, key=rank)
    far, abroad = _distance(best, target)
    near = "" if far and abroad else f", in the same {'country' if far else 'region'}"
    silent = ", but it answers no wake-up" if best.silent else ""
    return Executor(best.id, f"{best.id} works for {target.id}: it is trusted{near}{silent}")


def _distance(site: SiteFacts, target: SiteFacts) -> tuple[bool, bool]:
    """Whether a site is in another region, and in another country; the unknown is another."""
    far = not target.region or site.region != target.region
    abroad = not target.country or site.country != target.country
    return far, abroad


def obstacle(site: SiteFacts) -> str:
    """Say why a site cannot work for others; empty where it can."""
    if site.kind != "node" or site.driver in UNMANNED_DRIVERS:
        return f"{site.id} is no node"
    if not site.trusted:
        return f"{site.id} is not trusted"
    if site.retired or site.incident:
        return f"{site.id} is at fault, or goes"
    return ""
