"""`fleet simulate`: small fleets through virtual months."""

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import pytest
from sqlalchemy import update
from sqlmodel import Session, col, select

from fleet.cli import simulate as command
from fleet.control.errors import RefusedError
from fleet.store.clock import Clock
from fleet.store.database import Store
from fleet.store.tables import Attempt, Observation, Replica, Site, Transfer, Wakeup
from fleet.twin import faults, onestore, traffic
from fleet.twin.faults import STANDARD, Kind
from fleet.twin.onestore import OneStore
from fleet.twin.places import places
from fleet.twin.policy import DEFAULT, NAIVE, read
from fleet.twin.report import Report, Size, simulate
from fleet.twin.truth import Held, Truth
from fleet.twin.twin import START, twin

SMALL = Size(seed=3, days=75, datasets=8, sites=6)  # over the change of clocks in March
SHORT = Size(seed=4, days=20, datasets=4, sites=4)  # in which a provider is lost
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def quiet(_share: float) -> None:
    """Show no progress."""


@pytest.fixture(scope="module")
def default() -> Report:
    return simulate(DEFAULT, SMALL, quiet)


@pytest.fixture(scope="module")
def naive() -> Report:
    return simulate(NAIVE, SMALL, quiet)


def test_the_same_seed_gives_the_same_report_and_another_another() -> None:
    first, again = simulate(DEFAULT, SHORT, quiet), simulate(DEFAULT, SHORT, quiet)
    assert replace(again, seconds=0.0) == replace(first, seconds=0.0)
    other = simulate(DEFAULT, replace(SHORT, seed=5), quiet)
    assert other.bytes_by_hour_class != first.bytes_by_hour_class


def test_every_dataset_is_published_and_kept(default: Report) -> None:
    assert default.versions == SMALL.datasets
    assert default.version_hours_below_min == 0
    assert default.versions_once_lost == 0


def test_quiet_hours_carry_most_also_after_the_clocks_change(
    default: Report, naive: Report
) -> None:
    """All but second copies wait for them."""
    assert _busy(default) < 0.6 * _busy(naive)
    assert default.bytes_by_hour_class["quiet"] > sum(default.bytes_by_hour_class.values()) / 2


def _busy(report: Report) -> float:
    return report.bytes_by_hour_class["busy"] / sum(report.bytes_by_hour_class.values())


def test_the_policies_meet_the_same_faults(default: Report, naive: Report) -> None:
    def drawn(report: Report) -> dict[str, int]:
        return {kind: report.faults[kind] for kind in Kind}

    assert drawn(default) == drawn(naive)


def test_copies_are_spread_so_that_a_lost_provider_takes_one() -> None:
    losses = _lost_with_a_provider(spread_by=("provider",)), _lost_with_a_provider(spread_by=())
    assert losses[0] == 0
    assert losses[1] > 0


def _lost_with_a_provider(spread_by: tuple[str, ...]) -> int:
    """Count the versions that each provider's end would take whole, one provider at a time."""
    policy = DEFAULT.model_copy(update={"spread_by": spread_by, "windows": False, "copies": 2})
    with twin(policy, seed=5, days=5) as one:
        one.fill(16, 8)
        one.run(quiet)
        homes = [
            {one.truth.places[site].provider for site in held.copies}
            for held in one.truth.held.values()
        ]
    return sum(len(providers) == 1 for providers in homes)


def test_no_real_time_is_used() -> None:
    with twin(DEFAULT, seed=1, days=10) as one:
        one.fill(3, 4)
        one.run(quiet)
        with one.store.read() as session:
            moments = [
                *session.exec(select(Transfer.created_at)).all(),
                *session.exec(select(Attempt.announced_at)).all(),
                *session.exec(select(Observation.at)).all(),
                *(row.verified_at for row in session.exec(select(Replica)).all()),
            ]
    end = START + timedelta(days=10)
    assert len(moments) > 10
    assert all(START <= moment <= end for moment in moments if moment)


def test_a_view_that_changes_something_is_told_of() -> None:
    with twin(DEFAULT, seed=1, days=1) as one:
        one.fill(1, 3)
        with pytest.raises(AssertionError, match="view"), one.store.read() as session:
            session.exec(select(Site)).all()[0].silent = True
        with pytest.raises(AssertionError, match="view"):
            _silence_one_in_a_view_and_ask(one.store)
        with one.store.read() as session:
            assert not any(site.silent for site in session.exec(select(Site)).all())


def _silence_one_in_a_view_and_ask(store: OneStore) -> None:
    with store.read() as session:
        session.exec(select(Site)).all()[0].silent = True
        session.exec(select(Replica)).all()  # which would write what was changed first


def test_a_unit_that_fails_leaves_nothing_behind() -> None:
    with twin(DEFAULT, seed=1, days=1) as one:
        one.fill(1, 3)
        with pytest.raises(ZeroDivisionError):
            _silence_all_and_fail(one.store)
        with one.store.read() as session:
            assert not any(site.silent for site in session.exec(select(Site)).all())


def _silence_all_and_fail(store: OneStore) -> None:
    with store.write() as session:
        for site in session.exec(select(Site)).all():
            site.silent = True
        session.flush()
        raise ZeroDivisionError


def test_rows_are_written_as_the_store_would_write_them() -> None:
    with twin(DEFAULT, seed=1, days=1) as one:
        one.fill(1, 3)
        with one.store.write() as session:
            first = session.exec(select(Site).order_by(Site.id)).all()[0]
            seen = Observation(
                kind="probe", observer=first.id, site_id=first.id, at=NOON, detail={"ok": [1, None]}
            )
            first.fronts, first.retiring = ["bucket"], NOON
            session.add(seen)
            session.add(Wakeup(site_id=first.id, task="seed", created_at=NOON))
        with one.store.write() as session:
            told, its = session.connection(), select(Site.fronts, Site.retiring)
            assert told.execute(its.where(Site.id == first.id)).one() == (
                ["bucket"],
                NOON,
            )
            assert told.execute(select(Observation.detail, Observation.at)).one() == (
                {"ok": [1, None]},
                NOON,
            )
            (number,) = told.execute(select(Wakeup.id)).one()
            assert session.get_one(Wakeup, number).site_id == first.id
            assert session.get_one(Observation, seen.id) is seen


def test_what_is_undone_within_a_unit_leaves_the_rest_of_it() -> None:
    with twin(DEFAULT, seed=1, days=1) as one:
        one.fill(1, 3)
        with one.store.write() as session:
            first, second, third = session.exec(select(Site).order_by(Site.id)).all()
            first.silent = True
            with suppress(ZeroDivisionError), session.begin_nested():
                second.silent = True
                session.flush()
                raise ZeroDivisionError
            third.silent = True
        with one.store.read() as session:
            told = session.connection().execute(select(Site.silent).order_by(Site.id)).scalars()
            assert list(told) == [True, False, True]
            assert not second.silent


def test_what_the_centre_believes_is_what_lies_there() -> None:
    """Nothing was lost here: each copy that the ledger counts is whole, and the other way round."""
    policy = DEFAULT.model_copy(update={"windows": False})
    with twin(policy, seed=2, days=4) as one:
        one.fill(4, 4)
        one.run(quiet)
        with one.store.read() as session:
            believed = {
                (row.shard_id, row.site_id)
                for row in session.exec(select(Replica).where(Replica.state == "available")).all()
            }
    there = {(shard, site) for shard, held in one.truth.held.items() for site in held.copies}
    assert believed == there
    assert there


def test_a_standard_year_tries_every_kind_of_fault() -> None:
    for seed in range(20):
        drawn = faults.draw(STANDARD, places(12), 365, Random(seed))
        assert {fault.kind for fault in drawn} == set(Kind)
        assert drawn == sorted(drawn)


def test_rates_are_what_is_written_down() -> None:
    years = [faults.draw(STANDARD, places(12), 365, Random(seed)) for seed in range(200)]
    outages = sum(fault.kind == Kind.OUTAGE for year in years for fault in year) / 200
    assert outages == pytest.approx(STANDARD.outages * 12, rel=0.05)


def test_hours_are_counted_from_publication() -> None:
    truth = Truth(target=2)
    truth.places = {place.id: place for place in places(2)}
    first, second = truth.places
    truth.publish("shard", Held("x", 10**12, NOON, None), first)
    truth.arrive("shard", second, NOON + timedelta(hours=3))
    truth.lose("shard", first, NOON + timedelta(hours=10))
    truth.close(NOON + timedelta(hours=15))
    assert truth.hours_below(1) == 0
    assert truth.hours_below(2) == 3 + 5
    assert truth.to_second(NOON) == [3]
    assert truth.storage_cost > 0


def test_a_corrupt_copy_counts_no_more_until_it_is_made_anew() -> None:
    truth = Truth(target=1)
    truth.places = {place.id: place for place in places(1)}
    (site,) = truth.places
    truth.publish("shard", Held("x", 10**12, NOON, None), site)
    truth.decay(1e6, 1.0, NOON + timedelta(hours=1), Random(1))
    assert truth.whole_at("shard", site) is False
    truth.arrive("shard", site, NOON + timedelta(hours=4))
    truth.close(NOON + timedelta(hours=9))
    assert truth.hours_below(1) == 3


@pytest.mark.parametrize(
    ("month", "hour"),
    [(1, 9), (7, 8)],  # four in the morning in Toronto, in winter and summer
)
def test_quiet_hours_are_those_of_the_people_there(month: int, hour: int) -> None:
    day = datetime(2026, month, 15, hour, tzinfo=UTC)
    loads = {
        later: traffic.load("America/Toronto", day + timedelta(hours=later)) for later in range(24)
    }
    assert min(loads, key=loads.__getitem__) in (0, 23)  # the trough is at four
    assert traffic.hour_class("America/Toronto", day) == "quiet"
    assert traffic.hour_class("America/Toronto", day + timedelta(hours=12)) == "busy"


def test_a_transfer_is_shared_out_over_the_hours_it_took() -> None:
    parts = list(traffic.hours(NOON + timedelta(minutes=30), NOON + timedelta(hours=2)))
    assert [begins.hour for begins, _ in parts] == [12, 13]
    assert [share for _, share in parts] == pytest.approx([1 / 3, 2 / 3])


def test_a_policy_comes_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "four.toml"
    file.write_text('copies = 4\nspread_by = ["country"]\n')
    policy = read(str(file))
    assert (policy.name, policy.copies, policy.spread_by) == ("four", 4, ("country",))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("copies = 0", "copies"),
        ("min = 5", "more than copies"),
        ('spread_by = ["colour"]', "cannot spread by 'colour'"),
        ("speed = 1", "speed"),
        ("copies", "bad.toml: Expected"),
    ],
)
def test_a_bad_policy_is_refused_with_its_reason(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "bad.toml"
    file.write_text(text)
    with pytest.raises(RefusedError, match=says):
        read(str(file))


def test_an_unknown_policy_is_refused() -> None:
    with pytest.raises(RefusedError, match="default or naive"):
        read("best")


def test_the_command_prints_one_object_with_the_naive_policy_beside(
    capsys: pytest.CaptureFixture[str],
) -> None:
    command.main(Size(seed=1, days=8, datasets=2, sites=4), (), as_json=True)
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["policy"] == "default"
    assert found["naive"]["policy"] == "naive"
    assert found["naive_version_hours_below_min"] == found["naive"]["version_hours_below_min"]
    assert found["events"] > 0
    assert "seconds" not in found["missed"]


def test_two_policies_are_compared_in_a_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "one-copy.toml"
    file.write_text("copies = 1")
    command.main(Size(seed=1, days=8, datasets=2, sites=4), ("default", str(file)), as_json=False)
    shown = capsys.readouterr().out
    assert "one-copy" in shown
    assert "version-hours below min" in shown
    assert "site outage" in shown


class _AsReal(OneStore):
    """The store of a twin, with a session for each unit of work, as the centre's has."""

    write, read = Store.write, Store.read

    def __init__(self, tables: Path, clock: Clock, rng: Random) -> None:
        super().__init__(tables, clock, rng)
        self._connection.close()


def test_what_is_known_is_what_the_store_would_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """One session that seldom asks gives the same days as sessions that ask each time."""
    size = Size(seed=4, days=12, datasets=5, sites=4)
    seldom = simulate(DEFAULT, size, quiet)
    monkeypatch.setattr(onestore, "OneStore", _AsReal)
    assert replace(simulate(DEFAULT, size, quiet), seconds=0.0) == replace(seldom, seconds=0.0)


_SILENT = select(Site.id).where(col(Site.silent).is_(True))
_SILENCE = update(Site).values(silent=True)


def _silence_rows(session: Session) -> None:
    for site in session.exec(select(Site)).all():
        site.silent = True


def _silence_by_statement(session: Session) -> None:
    session.exec(_SILENCE)


def _silence_past_the_session(session: Session) -> None:
    session.connection().execute(_SILENCE)


@pytest.mark.parametrize(
    "silence", [_silence_rows, _silence_by_statement, _silence_past_the_session]
)
def test_what_was_written_is_known_no_more(silence: Callable[[Session], None]) -> None:
    with twin(DEFAULT, seed=1, days=1) as one:
        one.fill(1, 3)
        for _ in range(3):
            with one.store.read() as session:
                assert session.exec(_SILENT).all() == []
        with one.store.write() as session:
            silence(session)
            assert len(session.exec(_SILENT).all()) == 3
        with one.store.read() as session:
            assert all(site.silent for site in session.exec(select(Site)).all())
