"""Which repositories a version is published in, what comes next of each, and what that waits for.

Rules this module keeps:

- A repository takes whole versions: it serves a rule that selects it by one publication of each.
- The versions of a dataset are one concept at a repository: one of them at a time is under way
  there, in the order in which they were published.
- One that nobody asks for any more, or that was superseded, is begun only if a person asked for it;
  one that was begun is ended.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from fleet.planning import executors, selector
from fleet.planning.facts import Choice, RuleFacts, SiteFacts, Wait
from fleet.planning.retry import Retry, after_failure
from fleet.planning.states import PublicationState, TransferState, VersionState

TRIES = 20  # a repository may be away for days
MIRRORS_WITHIN = timedelta(minutes=15)
LOOK_AGAIN, SOON = timedelta(minutes=5), timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class PublicationFacts:
    """What is known of a version at a repository.

    ``begun`` is one of which the repository may have a draft, ``sequence`` None one of a draft.
    """

    label: str
    version: VersionState
    sequence: int | None
    state: PublicationState
    begun: bool = False
    by_hand: bool = False

    @property
    def is_wanted(self) -> bool:
        """Whether it is to be begun, for a person asked, or it is the dataset's latest version."""
        return self.by_hand or self.version == VersionState.PUBLISHED


def where(rule: RuleFacts, sites: Iterable[SiteFacts]) -> tuple[Choice, ...]:
    """Choose the repositories that a version is to be published in."""
    matches = selector.parse(rule.selector)
    wanted = rule.selector.strip() or "any site"
    return tuple(
        Choice(site.id, f"{site.id} matches the rule: {wanted}")
        for site in sites
        if site.driver in executors.WHOLE_DRIVERS and not site.retired and matches(site)
    )


def waits(one: PublicationFacts, others: Iterable[PublicationFacts], site: SiteFacts) -> str:
    """Say why a publication is not begun yet; empty where it may be.

    ``others`` are of the same dataset at the same repository.
    """
    if site.incident:
        return f"{site.id} is at fault: {site.incident}"
    if one.begun:
        return ""
    if one.sequence is None:
        return f"version {one.label} is not published yet: not all its files are known"
    for other in others:
        if other.state == PublicationState.PUBLISHED:
            continue
        if other.begun:
            return (
                f"{site.id} has a draft of version {other.label}, and takes one version of a "
                "dataset at a time"
            )
        earlier = other.sequence is not None and other.sequence < one.sequence
        if earlier and other.is_wanted and other.state != PublicationState.REFUSED:
            return f"version {other.label} comes first, which waits too"
    return ""


def refused(one: PublicationFacts, site: SiteFacts) -> str:
    """Say why a publication cannot be before a person does something; empty where it may."""
    if site.retired:
        return f"{site.id} is retired, or is to be"
    if one.version == VersionState.WITHDRAWN and not one.begun:
        return f"version {one.label} was withdrawn"
    return ""


def after_fill(state: str, reason: str) -> tuple[PublicationState, str]:
    """Say what follows of what became of the transfer that fills a draft, and why."""
    match state:
        case TransferState.DONE:
            return PublicationState.CLOSING, "its data are in the draft"
        case TransferState.SUSPENDED:
            return PublicationState.REFUSED, reason
        case TransferState.CANCELLED:
            return PublicationState.WANTED, reason
        case _:
            return PublicationState.FILLING, reason or "waits for an executor"


def lacks_mirrors(*, mirrors: bool, whole: bool, since: datetime, now: datetime) -> Wait | None:
    """Say why a record that is to name the version's mirrors is not written yet, if it is not.

    One that has the data goes without after a while; one that leads to them never does.
    """
    if mirrors or (whole and now >= since + MIRRORS_WITHIN):
        return None
    last = f", but no longer than {since + MIRRORS_WITHIN:%H:%M} UTC" if whole else ""
    reason = (
        "its record is to name where the version is read: it waits until a site has read a piece "
        f"of it at another{last}"
    )
    return Wait(reason, now + min(max((now - since) / 4, SOON), LOOK_AGAIN))


def after_trouble(reason: str, *, attempts: int, first_wait: float, now: datetime) -> Retry:
    """Decide when a step that came to nothing is tried again."""
    return after_failure(
        reason, attempts=attempts, max_attempts=TRIES, first_wait=first_wait, now=now
    )
