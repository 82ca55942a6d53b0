"""`fleet why`: every wait and decision has its reason, and a time to be looked at again."""

import time
from datetime import UTC, datetime, timedelta

import pytest
from sqlmodel import select

from fleet.cli import tables
from fleet.control import why
from fleet.control.causes import Cause
from fleet.control.rules import RuleSpec
from fleet.store.tables import Replica
from tests.centre_support import Centre
from tests.conftest import NOON
from tests.holdings_support import doubt, hold

QUIET = {"timezone": "America/Toronto", "opens": "00:00", "closes": "06:00"}


def _causes(centre: Centre, name: str) -> dict[str, Cause]:
    with centre.store.read() as session:
        found = why.explain(session, name, centre.store.now(session)).causes
    return {cause.thing: cause for cause in found}


def test_a_datasets_rule_is_told_in_words_with_its_expiry(centre: Centre) -> None:
    expires, deadline = NOON + timedelta(days=30), NOON + timedelta(days=2)
    rule = RuleSpec(
        copies=2, min=2, spread_by=("country", "operator"), expires=expires, deadline=deadline
    )
    centre.mirror("a.csv", rule=rule)
    told = _causes(centre, "data")["rule of data"]
    assert told.reason.startswith(
        "2 copies at sites that match 'kind=node', no two with the same country or operator, "
        "2 at the least"
    )
    assert (told.state, told.again) == ("in force", expires)
    assert _causes(centre, "data")["deadline of data"].again == deadline
    centre.advance(31 * 86_400)
    assert _causes(centre, "data")["rule of data"].state == "expired"


def test_a_transfer_tells_of_the_quiet_hours_it_waits_for_and_of_full_slots(
    centre: Centre,
) -> None:
    centre.apply_sites("toronto", "amsterdam", "netcup", windows=[QUIET], slots=1)
    centre.mirror("a.csv")
    centre.tick()
    [transfer] = centre.transfers()
    opens = datetime(2026, 3, 2, 5, tzinfo=UTC)
    told = _causes(centre, transfer.id)[f"quiet hours of {transfer.executor_id}"]
    assert (told.state, told.again) == ("off", opens)
    assert "from 00:00 (America/Toronto)" in told.reason


def test_a_replica_tells_when_it_was_read_when_it_is_read_next_and_how_its_shard_stands(
    centre: Centre,
) -> None:
    [shard] = hold(centre, 1, ("toronto", "amsterdam"))
    with centre.store.read() as session:
        row = session.exec(select(Replica).where(Replica.site_id == "toronto")).one()
    told = _causes(centre, row.id)
    copy, stands = told[f"replica {row.id} at toronto"], told[f"shard {shard}"]
    assert (copy.since, copy.again) == (NOON, row.look_at)
    assert stands.state == "2 good"
    assert "amsterdam, toronto" in stands.reason


def test_a_site_tells_of_its_incident_its_copies_its_hours_and_what_it_reads(
    centre: Centre,
) -> None:
    centre.apply_sites("toronto", windows=[QUIET], budget={"streams": 3, "bytes_per_second": 2e6})
    shards = hold(centre, 40, ("toronto", "amsterdam"))
    assert _causes(centre, "toronto")["fixity of toronto"].again is not None
    doubt(centre, "toronto", shards)
    centre.tick()
    told = _causes(centre, "toronto")
    assert told["incident at toronto"].state == "sampling"
    assert "0 of 30 copies drawn by lot were read" in told["incident at toronto"].reason
    assert told["copies at toronto"].reason == "30 available, 10 suspect"
    assert "3 streams at once, at 2 MB/s at most" in told["budget of toronto"].reason
    assert told["quiet hours of toronto"].state == "off"
    assert told["fixity of toronto"].state == "reading"


def test_people_are_told_moments_in_their_own_zone(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "America/Toronto")
    time.tzset()
    try:
        cause = {"thing": "x", "state": "open", "since": NOON, "again": NOON}
        cause["reason"] = "wrong since 2026-03-01 12:00 UTC"
        tables.show_why({"causes": [cause], "more": 0})
    finally:
        monkeypatch.undo()
        time.tzset()
    said = " ".join(capsys.readouterr().out.split())
    assert "wrong since 2026-03-01 07:00 EST" in said
    assert "looked at again 2026-03-01 07:00:00 EST" in said
