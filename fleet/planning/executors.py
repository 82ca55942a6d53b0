"""Who carries out what is to be done at a site that has no worker of its own.

Rules this module keeps:

- Keys go to a trusted node only, and one that answers and is not at fault.
- The nearest comes first, in region and then in country; then the one with the least to do.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fleet.planning.facts import SiteFacts

UNMANNED_DRIVERS = frozenset({"s3", "internet-archive"})


@dataclass(frozen=True, slots=True)
class Executor:
    """The site chosen; empty where there is none, and why."""

    site: str
    reason: str


def choose(
    target: SiteFacts, sites: Sequence[SiteFacts], given: Mapping[str, int] | None = None
) -> Executor:
    """Choose who works for ``target``; ``given`` bytes were given to sites since."""
    given = given or {}
    able = [site for site in sites if not obstacle(site)]
    if not able:
        return Executor("", f"no trusted node answers that could work for {target.id}")

    def rank(site: SiteFacts) -> tuple[bool, bool, int, str]:
        queued = site.queued + given.get(site.id, 0)
        far = not target.region or site.region != target.region
        abroad = not target.country or site.country != target.country
        return far, abroad, queued, site.id

    best = min(able, key=rank)
    far, abroad, *_ = rank(best)
    near = "" if far and abroad else f", in the same {'country' if far else 'region'}"
    return Executor(best.id, f"{best.id} works for {target.id}: it is trusted{near}")


def obstacle(site: SiteFacts) -> str:
    """Say why a site cannot work for others; empty where it can."""
    if site.kind != "node" or site.driver in UNMANNED_DRIVERS:
        return f"{site.id} is no node"
    if not site.trusted:
        return f"{site.id} is not trusted"
    if site.silent or site.retired or site.incident:
        return f"{site.id} does not answer, is at fault or goes"
    return ""
