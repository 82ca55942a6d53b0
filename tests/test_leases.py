"""Claims, leases and fences, on both databases."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlmodel import select

from fleet.control import orders, scheduler
from fleet.control.errors import NotFoundError, RefusedError
from fleet.messages import ItemResult, Order
from fleet.store.database import Store
from fleet.store.tables import Artifact, Attempt, Observation, Office, Transfer
from tests.centre_support import Centre

AT_ONCE = 6


def _first_order(centre: Centre) -> Order:
    centre.mirror("a.csv")
    centre.tick()
    [(attempt, site)] = centre.announced()
    return centre.claim(attempt, site)


def test_only_one_of_many_claims_at_once_gets_the_order(centre: Centre) -> None:
    centre.mirror("a.csv")
    centre.tick()
    [(attempt, site)] = centre.announced()

    def try_it(_: int) -> int:
        try:
            return centre.claim(attempt, site).fence
        except RefusedError:
            return 0

    with ThreadPoolExecutor(AT_ONCE) as pool:
        fences = list(pool.map(try_it, range(4 * AT_ONCE)))
    assert sorted(fences) == [0] * (4 * AT_ONCE - 1) + [1]


def test_schedulers_at_once_announce_each_transfer_once(centre: Centre) -> None:
    centre.apply_sites("toronto", "amsterdam", "netcup", slots=100)
    centre.mirror(*(f"{number}.csv" for number in range(33 * 12)))
    for _ in range(10):
        scheduler.drafts.step(centre.store, centre.settings)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(lambda _: centre.dispatch(), range(AT_ONCE)))
    announced = [attempt for attempt, _ in centre.announced()]
    transfers = centre.transfers(kind="ingest")
    assert len(transfers) > AT_ONCE
    assert sorted(announced) == sorted(one.attempt_id or "" for one in transfers)


def test_ticks_at_once_cut_and_place_every_file_exactly_once(centre: Centre) -> None:
    centre.mirror(*(f"{number:03}.csv" for number in range(100)))
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for _ in range(8):
            list(pool.map(lambda _: centre.tick(), range(AT_ONCE)))
            for attempt, site in centre.announced():
                centre.report(centre.claim(attempt, site))
    assert all(states == ["available"] for states in centre.replicas().values())
    assert len(centre.transfers(kind="copy")) == 3


def test_a_site_cannot_claim_what_another_was_told_to_do(centre: Centre) -> None:
    centre.mirror("a.csv")
    centre.tick()
    [(attempt, site)] = centre.announced()
    other = next(one for one in ("toronto", "amsterdam") if one != site)
    with pytest.raises(NotFoundError):
        centre.claim(attempt, other)


def test_an_expired_lease_makes_the_work_claimable_again_with_a_higher_fence(
    centre: Centre,
) -> None:
    order = _first_order(centre)
    centre.advance(11)
    centre.tick()
    [(attempt, site)] = centre.announced()
    again = centre.claim(attempt, site)
    assert again.fence == order.fence + 1
    assert _transfer_of(centre, again.attempt) == _transfer_of(centre, order.attempt)


def test_a_heartbeat_keeps_the_lease(centre: Centre) -> None:
    order = _first_order(centre)
    for _ in range(5):
        centre.advance(8)
        assert centre.beat(order).action == "continue"
        centre.tick()
    assert centre.announced() == []


def test_a_late_heartbeat_takes_the_work_back_before_anyone_else_claims_it(
    centre: Centre,
) -> None:
    order = _first_order(centre)
    centre.advance(11)
    centre.tick()
    [(attempt, site)] = centre.announced()
    assert centre.beat(order).action == "continue"
    with pytest.raises(RefusedError):
        centre.claim(attempt, site)
    assert centre.report(order).applied


def test_a_claim_whose_order_cannot_be_written_is_given_back(
    centre: Centre, monkeypatch: pytest.MonkeyPatch
) -> None:
    centre.apply_sites("toronto")
    centre.mirror("a.csv")
    centre.tick()
    [(attempt, site)] = centre.announced()

    def fail(*_: object) -> None:
        raise OSError("the database went away")

    with monkeypatch.context() as broken:
        broken.setattr(orders, "build", fail)
        with pytest.raises(OSError, match="went away"):
            centre.claim(attempt, site)
    [transfer] = centre.transfers(kind="ingest")
    assert (transfer.state, transfer.attempts) == ("announced", 0)
    assert transfer.reason == "its order could not be written: OSError: the database went away"
    assert centre.claim(attempt, site).fence == 2


def test_a_superseded_attempt_is_told_to_stop(centre: Centre) -> None:
    order = _first_order(centre)
    centre.advance(11)
    centre.tick()
    [(attempt, site)] = centre.announced()
    centre.claim(attempt, site)
    answer = centre.beat(order)
    assert (answer.action, "superseded" in answer.reason) == ("stop", True)


def test_work_finished_after_its_lease_ran_out_counts_if_nobody_else_began(
    centre: Centre,
) -> None:
    order = _first_order(centre)
    centre.advance(3600)
    centre.tick()
    assert centre.report(order).applied
    centre.work()
    assert all(states == ["available"] for states in centre.replicas().values())


def test_a_superseded_outcome_changes_no_state_and_is_kept_as_an_observation(
    centre: Centre,
) -> None:
    order = _first_order(centre)
    centre.advance(11)
    centre.tick()
    [(attempt, site)] = centre.announced()
    later = centre.claim(attempt, site)
    before = centre.transfers()
    verdict = centre.report(order)
    assert not verdict.applied
    assert centre.transfers() == before
    with centre.store.read() as session:
        kinds = [one.kind for one in session.exec(select(Observation)).all()]
    assert kinds == ["superseded_outcome"]
    assert centre.report(later).applied


def test_a_superseded_copy_is_verified_so_that_its_work_is_not_lost(centre: Centre) -> None:
    centre.mirror("a.csv")
    order = _claimed_copy(centre)
    centre.advance(11)
    centre.tick()
    again = dict(centre.announced())
    mine = next(
        attempt
        for attempt in again
        if _transfer_of(centre, attempt) == _transfer_of(centre, order.attempt)
    )
    later = centre.claim(mine, again[mine])
    failure = ItemResult(artifact=later.items[0].artifact, ok=False, reason="gone", final=False)
    assert not centre.report(order).applied
    centre.report(later, items=(failure,))
    assert any(one.shard_id == order.shard for one in centre.transfers(target_id=order.site))


def test_applying_an_outcome_twice_changes_nothing_the_second_time(centre: Centre) -> None:
    order = _first_order(centre)
    assert centre.report(order).applied
    before = centre.transfers()
    assert centre.report(order).applied
    assert centre.transfers() == before


def test_reports_of_one_outcome_at_once_are_applied_once(centre: Centre) -> None:
    order = _first_order(centre)
    outcome = centre.outcome(order)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        verdicts = list(pool.map(lambda _: centre.report(order, items=outcome.items), range(12)))
    assert all(verdict.applied for verdict in verdicts)
    assert sum(verdict.reason == "applied" for verdict in verdicts) == 1


def test_an_outcome_with_a_fence_that_was_never_given_is_refused(centre: Centre) -> None:
    order = _first_order(centre)
    with pytest.raises(RefusedError, match="fence 99"):
        centre.report(order, fence=99)


def test_a_lost_wakeup_is_sent_again(centre: Centre) -> None:
    centre.mirror("a.csv")
    centre.tick()
    first = centre.announced()
    centre.advance(5)
    centre.tick()
    assert centre.announced() == []
    centre.advance(6)
    centre.tick()
    assert centre.announced() == first
    assert centre.claim(*first[0]).fence == 1


def test_no_site_is_told_of_more_than_it_has_slots_for(centre: Centre) -> None:
    centre.apply_sites("toronto", "amsterdam", "netcup", slots=2)
    centre.mirror(*(f"{number}.csv" for number in range(33 * 12)))
    centre.tick()
    told = [site for _, site in centre.announced()]
    assert sorted(told) == ["amsterdam"] * 2 + ["netcup"] * 2 + ["toronto"] * 2


@pytest.mark.parametrize("role", ["server", "scheduler"])
def test_no_lease_expires_until_two_leases_after_the_centre_came_back(
    centre: Centre, role: str
) -> None:
    _first_order(centre)
    centre.advance(11)
    with centre.store.write() as session:
        office = session.get_one(Office, role)
        office.since = centre.store.now(session) - timedelta(seconds=11)
    centre.tick()
    assert centre.announced() == []
    centre.advance(10)
    centre.tick()
    assert len(centre.announced()) == 1


def test_no_lease_expires_while_the_server_is_away(centre: Centre) -> None:
    _first_order(centre)
    with centre.store.write() as session:
        office = session.get_one(Office, "server")
        office.until = centre.store.now(session)
    centre.advance(3600)
    centre.tick()
    assert centre.announced() == []


def test_a_file_that_ends_every_worker_is_tried_at_other_sites_and_then_given_up(
    centre: Centre,
) -> None:
    _first_order(centre)
    for _ in range(30):
        centre.advance(11)
        centre.tick()
        centre.orders()
    transfers = centre.transfers(kind="ingest")
    assert [one.state for one in transfers] == ["suspended"] * 3
    assert len({one.target_id for one in transfers}) > 1
    for one in transfers:
        assert "gave up after 3 attempts" in one.reason
        assert "silent" in one.reason
    with centre.store.read() as session:
        [artifact] = session.exec(select(Artifact)).all()
    assert artifact.state == "excluded"


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    steps=st.lists(
        st.sampled_from(["tick", "claim", "beat", "report", "fail", "wait", "flush"]), max_size=40
    )
)
def test_fences_only_rise_and_at_most_one_attempt_is_current(
    sqlite_store: Store, tmp_path: object, steps: list[str]
) -> None:
    centre = Centre(sqlite_store, tmp_path)  # type: ignore[arg-type]
    centre.apply_sites("toronto", "amsterdam")
    centre.open_doors()
    centre.mirror("a.csv", key=repr(steps))
    play = _Play(centre)
    fences: dict[str, int] = {}
    for step in [*steps, "tick"]:
        getattr(play, step)()
        for transfer in centre.transfers():
            assert transfer.fence >= fences.get(transfer.id, 0)
            fences[transfer.id] = transfer.fence
            assert _running(centre, transfer) <= 1


class _Play:
    """What can happen, in any order: each method is one step."""

    def __init__(self, centre: Centre) -> None:
        self.centre = centre
        self.known: list[tuple[str, str]] = []
        self.held: list[Order] = []

    def tick(self) -> None:
        self.centre.tick()
        self.known += self.centre.announced()

    def flush(self) -> None:
        self.known.clear()

    def wait(self) -> None:
        self.centre.advance(11)

    def claim(self) -> None:
        with suppress(RefusedError, IndexError):
            self.held.append(self.centre.claim(*self.known.pop()))

    def beat(self) -> None:
        if self.held:
            self.centre.beat(self.held[0])

    def report(self) -> None:
        if self.held:
            self.centre.report(self.held.pop(0))

    def fail(self) -> None:
        if self.held:
            order = self.held.pop()
            items = (
                ItemResult(artifact=one.artifact, ok=False, reason="no") for one in order.items
            )
            self.centre.report(order, items=tuple(items))


def _running(centre: Centre, transfer: Transfer) -> int:
    with centre.store.read() as session:
        rows = session.exec(select(Attempt).where(Attempt.transfer_id == transfer.id)).all()
    return sum(row.state == "running" for row in rows)


def _claimed_copy(centre: Centre) -> Order:
    centre.tick()
    [(attempt, site)] = centre.announced()
    centre.report(centre.claim(attempt, site))
    centre.tick()
    attempt, site = centre.announced()[0]
    return centre.claim(attempt, site)


def _transfer_of(centre: Centre, attempt: str) -> str:
    with centre.store.read() as session:
        return session.get_one(Attempt, attempt).transfer_id
