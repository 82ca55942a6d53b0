"""When the catalogue is written, and when an edition is begun: decisions alone."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from fleet.catalogue.signing.lives import ABSENCE, LIVES, due, expiry
from fleet.planning.press import (
    AGAIN,
    BETWEEN,
    DAILY,
    LONGEST,
    PATIENCE,
    QUIET,
    Untold,
    look_again,
    mirror_at,
    write_at,
)

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
_spans = st.timedeltas(timedelta(0), timedelta(days=2))


def test_nothing_is_written_while_nothing_changes() -> None:
    assert write_at(Untold(), None) is None
    assert write_at(Untold(), NOW) == NOW


@given(_spans)
def test_a_change_waits_for_quiet_and_never_longer_than_it_may(span: timedelta) -> None:
    at = write_at(Untold(since=NOW, until=NOW + span), None)
    assert at is not None
    assert at <= NOW + LONGEST
    assert at == NOW + LONGEST or at == NOW + span + QUIET


@given(_spans)
def test_a_proof_waits_for_a_day_unless_something_else_is_told(span: timedelta) -> None:
    proofs = NOW - span
    assert write_at(Untold(proofs=proofs), None) == proofs + DAILY
    both = write_at(Untold(since=NOW, until=NOW, proofs=proofs), None)
    assert both == min(NOW + QUIET, proofs + DAILY)


def test_what_could_not_be_told_is_tried_again_and_keeps_nothing_waiting() -> None:
    later = NOW + timedelta(hours=1)
    assert write_at(Untold(later=later), None) == later
    assert write_at(Untold(since=NOW, until=NOW, later=later), None) == NOW + QUIET


def test_an_edition_is_begun_at_once_and_the_next_an_hour_later() -> None:
    assert mirror_at(None, NOW, under_way=False) == NOW
    assert mirror_at(NOW, NOW, under_way=False) == NOW + BETWEEN
    assert mirror_at(NOW, NOW, under_way=True) == NOW + PATIENCE


@given(st.timedeltas(timedelta(0), timedelta(days=365)))
def test_what_is_looked_at_daily_resolves_for_thirty_days_after_that(begun: timedelta) -> None:
    """Also where it waited an hour to be mirrored, and six more for an edition that got nowhere."""
    now = NOW + begun
    expires = {role: expiry(role, now) for role in LIVES}
    for _ in range(200):
        now = look_again(signed=True, now=now)
        waited = now + BETWEEN + PATIENCE
        assert min(expires.values()) >= waited + ABSENCE
        expires |= {role: expiry(role, now) for role in LIVES if due(role, expires[role], now)}
    assert look_again(signed=False, now=NOW) == NOW + AGAIN
