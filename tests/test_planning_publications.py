"""Which repositories a version is published in, in which order, and what that waits for."""

from dataclasses import replace
from datetime import timedelta

import pytest

from fleet.planning.facts import RuleFacts, SiteFacts
from fleet.planning.publications import (
    LOOK_AGAIN,
    MIRRORS_WITHIN,
    SOON,
    PublicationFacts,
    after_fill,
    lacks_mirrors,
    refused,
    waits,
    where,
)
from fleet.planning.states import PublicationState, VersionState
from tests.conftest import NOON
from tests.planning_support import site

ZENODO = site("zenodo", kind="repository", driver="zenodo")
LATEST = PublicationFacts("v2", VersionState.PUBLISHED, 2, PublicationState.WANTED)
EARLIER = PublicationFacts("v1", VersionState.SUPERSEDED, 1, PublicationState.WANTED)


@pytest.mark.parametrize(
    ("selector", "changes", "chosen"),
    [
        ("", {}, True),
        ("kind=repository", {}, True),
        ("kind=node", {}, False),
        ("", {"retired": True}, False),
        ("", {"driver": "s3"}, False),
    ],
)
def test_a_rule_chooses_the_repositories_that_it_selects_and_that_stay(
    selector: str, changes: dict[str, object], chosen: bool
) -> None:
    one: SiteFacts = replace(ZENODO, **changes)  # type: ignore[arg-type]
    found = where(RuleFacts(copies=1, selector=selector), [site("toronto"), one])
    assert [choice.site for choice in found] == (["zenodo"] if chosen else [])


@pytest.mark.parametrize(
    ("one", "other", "said"),
    [
        (LATEST, EARLIER, ""),  # nobody asks for it any more
        (LATEST, replace(EARLIER, by_hand=True), "version v1 comes first"),
        (LATEST, replace(EARLIER, begun=True), "zenodo has a draft of version v1"),
        (LATEST, replace(EARLIER, begun=True, state=PublicationState.PUBLISHED), ""),
        (LATEST, replace(EARLIER, by_hand=True, state=PublicationState.REFUSED), ""),
        (
            LATEST,
            replace(EARLIER, begun=True, state=PublicationState.REFUSED),
            "zenodo has a draft of version v1",
        ),
        (replace(EARLIER, by_hand=True), LATEST, ""),
        (replace(LATEST, begun=True), replace(EARLIER, begun=True), ""),
        (replace(LATEST, sequence=None), EARLIER, "version v2 is not published yet"),
    ],
)
def test_versions_of_a_dataset_are_begun_one_after_the_other(
    one: PublicationFacts, other: PublicationFacts, said: str
) -> None:
    found = waits(one, [other], ZENODO)
    assert found.startswith(said)
    assert bool(found) == bool(said)


def test_at_a_repository_that_is_at_fault_nothing_is_done() -> None:
    found = waits(replace(LATEST, begun=True), [], replace(ZENODO, incident="lies"))
    assert found == "zenodo is at fault: lies"


def test_what_was_begun_of_a_withdrawn_version_is_ended_and_nothing_else() -> None:
    withdrawn = replace(LATEST, version=VersionState.WITHDRAWN)
    assert refused(withdrawn, ZENODO) == "version v2 was withdrawn"
    assert refused(replace(withdrawn, begun=True), ZENODO) == ""
    assert "is retired" in refused(replace(LATEST, begun=True), replace(ZENODO, retired=True))


@pytest.mark.parametrize(
    ("transfer", "state"),
    [
        ("waiting", "filling"),
        ("running", "filling"),
        ("done", "closing"),
        ("suspended", "refused"),
        ("cancelled", "wanted"),
    ],
)
def test_what_follows_of_a_filling(transfer: str, state: str) -> None:
    assert after_fill(transfer, "why")[0] == state


@pytest.mark.parametrize(
    ("mirrors", "whole", "after", "waited"),
    [
        (True, True, 0, None),
        (True, False, 0, None),
        (False, True, 0, SOON),
        (False, True, 60, timedelta(seconds=15)),
        (False, True, MIRRORS_WITHIN.total_seconds(), None),
        (False, False, 10 * MIRRORS_WITHIN.total_seconds(), LOOK_AGAIN),
    ],
)
def test_a_record_waits_for_a_mirror_to_name_and_for_ever_if_it_has_nothing_else(
    mirrors: bool, whole: bool, after: float, waited: timedelta | None
) -> None:
    now = NOON + timedelta(seconds=after)
    found = lacks_mirrors(mirrors=mirrors, whole=whole, since=NOON, now=now)
    assert (found and found.until and found.until - now) == waited
