"""What a pull in the twin gets from a source that goes away or whose copy is rotten."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest

from fleet.messages import Item, Order, Source
from fleet.twin import faults
from fleet.twin.faults import Mix
from fleet.twin.jobs import Job
from fleet.twin.places import places
from fleet.twin.policy import DEFAULT
from fleet.twin.truth import Held
from fleet.twin.twin import START, Twin, twin

SIZE = 10**11
HOUR = 3600.0
FILE, SHARD = "data.zip", "shard"
TARGET, CLOUD, FLAT = "toronto", "amsterdam", "sydney"
CALM = Mix(throttled_pulls=0.0, corruptions_per_tb=0.0)
ORIGIN = Source(url=f"https://origin.example/{FILE}")
SWARM = Source(url="magnet:?xt=urn:btih:0", kind="torrent")


def copy(site: str) -> Source:
    return Source(url=f"https://{site}.example/{FILE}", site=site)


@contextmanager
def bench(monkeypatch: pytest.MonkeyPatch, *holders: str) -> Iterator[Twin]:
    """Make a twin in which nothing happens, with three sites and copies of one file at some."""
    monkeypatch.setattr(faults, "STANDARD", CALM)
    with twin(DEFAULT, seed=1, days=4) as one:
        for place in places(3):
            one.ground.join(place)
        one.truth.publish(SHARD, Held(FILE, SIZE, START, None), holders[0])
        for site in holders[1:]:
            one.truth.arrive(SHARD, site, START)
        one.hands.sizes[FILE] = SIZE
        yield one


def begin(one: Twin, *sources: Source, task: str = "pull", site: str = TARGET) -> Job:
    """Have a site carry out an order that no store knows of."""
    order = Order.model_validate(
        {
            "attempt": f"{task} at {site}",
            "fence": 1,
            "task": task,
            "site": site,
            "lease_seconds": 30 * 86400,
            "shard": SHARD,
            "items": [Item(artifact="a", path=FILE, size=SIZE, sources=sources)],
        }
    )
    job = Job(order, one.truth.places[site], one.now)
    one.hands._running[order.attempt] = job
    one.hands._begin(job)
    return job


def run(one: Twin) -> None:
    one.run(lambda _share: None)


def came(job: Job) -> list[float]:
    """Return the shares of the file that each source gave."""
    return [round(report.bytes / SIZE, 6) for report in job.reports]


@pytest.mark.parametrize("first", [copy(FLAT), SWARM])
def test_a_lost_source_gives_nothing_more_and_the_next_goes_on(
    monkeypatch: pytest.MonkeyPatch, first: Source
) -> None:
    with bench(monkeypatch, FLAT) as one:
        job = begin(one, first, ORIGIN)
        one.after(SIZE / job.rate * 0.3, lambda: one.ground.lose(FLAT))
        run(one)
        assert job.failure is None
        assert came(job)[:1] == [0.3]
        assert came(job)[-1:] == [0.7]
        assert job.reports[0].last_error == f"{FLAT} went away"
        assert one.truth.hours_below(1) > 1
        assert one.truth.whole_at(SHARD, TARGET)


def test_a_pull_whose_only_source_is_lost_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    with bench(monkeypatch, FLAT) as one:
        job = begin(one, copy(FLAT))
        one.after(SIZE / job.rate / 2, lambda: one.ground.lose(FLAT))
        run(one)
        assert job.failure
        assert (job.failure.fault, job.failure.ok) == ("source", False)
        assert one.truth.whole_at(SHARD, TARGET) is None


def test_what_came_before_a_source_went_down_is_not_fetched_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with bench(monkeypatch, FLAT) as one:
        job = begin(one, copy(FLAT))
        half = SIZE / job.rate / 2
        one.after(half, lambda: one.ground.away(FLAT, HOUR))
        again: list[Job] = []
        one.after(half + 2 * HOUR, lambda: again.append(begin(one, copy(FLAT))))
        run(one)
        assert job.failure
        assert came(again[0]) == [0.5]
        assert one.truth.whole_at(SHARD, TARGET)
        assert sum(one.hands.moved.values()) == pytest.approx(SIZE)


def test_a_swarm_goes_on_without_a_peer(monkeypatch: pytest.MonkeyPatch) -> None:
    with bench(monkeypatch, FLAT, CLOUD) as one:
        job = begin(one, SWARM)
        assert job.giver == CLOUD
        one.after(SIZE / job.rate / 2, lambda: one.ground.away(CLOUD, HOUR))
        run(one)
        assert job.giver == FLAT
        assert one.truth.whole_at(SHARD, TARGET)


def test_a_copy_that_is_dropped_gives_nothing_more(monkeypatch: pytest.MonkeyPatch) -> None:
    with bench(monkeypatch, FLAT, CLOUD) as one:
        job = begin(one, copy(FLAT), copy(CLOUD))
        drops: list[Job] = []
        one.after(SIZE / job.rate / 2, lambda: drops.append(begin(one, task="drop", site=FLAT)))
        run(one)
        assert drops
        assert job.giver == CLOUD
        assert came(job)[:1] == [pytest.approx(0.5, abs=0.01)]
        assert sum(report.bytes for report in job.reports) == pytest.approx(SIZE)


def test_a_pull_that_waits_for_its_window_does_not_go_on_because_its_source_went(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with bench(monkeypatch, FLAT, CLOUD) as one:
        job = begin(one, copy(FLAT), copy(CLOUD))
        job.paused = True
        one.ground.lose(FLAT)
        assert (job.giver, job.rate) == (CLOUD, 0)


def test_wrong_bytes_cost_time_and_egress_and_convict_who_sent_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with bench(monkeypatch, CLOUD) as one:
        one.truth.held[SHARD].copies[CLOUD] = False
        job = begin(one, copy(CLOUD), ORIGIN)
        fair_seconds = SIZE / job.rate
        run(one)
        wrong, right = job.reports[0], job.reports[-1]
        assert (wrong.evidence, wrong.errors) == (f"wrong bytes came from {CLOUD}", 1)
        assert 0 < wrong.bytes < SIZE
        assert wrong.seconds == pytest.approx(wrong.bytes / SIZE * fair_seconds)
        egress = one.truth.places[CLOUD].egress
        assert one.hands.egress_cost == pytest.approx(wrong.bytes / 1e12 * egress)
        assert wrong.bytes + right.bytes == pytest.approx(SIZE)
        assert not right.evidence


def test_nothing_whole_comes_of_rotten_copies_however_often_they_are_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with bench(monkeypatch, CLOUD, FLAT) as one:
        for site in (CLOUD, FLAT):
            one.truth.held[SHARD].copies[site] = False
        jobs: list[Job] = []
        for day in range(3):
            one.after(day * 86400, lambda: jobs.append(begin(one, copy(CLOUD), copy(FLAT))))
        run(one)
        assert [job.failure is None for job in jobs] == [False] * 3
        assert one.truth.whole_at(SHARD, TARGET) is None


def test_a_copy_that_rots_while_it_is_read_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    with bench(monkeypatch, FLAT) as one:
        job = begin(one, copy(FLAT))

        def rot() -> None:
            one.truth.held[SHARD].copies[FLAT] = False

        one.after(SIZE / job.rate / 2, rot)
        run(one)
        assert job.failure
        assert job.reports[0].evidence


def test_a_copy_that_is_made_whole_while_it_is_read_gives_the_rest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with bench(monkeypatch, FLAT) as one:
        one.truth.held[SHARD].copies[FLAT] = False
        job = begin(one, copy(FLAT))
        one.truth.arrive(SHARD, FLAT, one.now)
        run(one)
        assert came(job) == [1.0]
        assert job.at == START + timedelta(seconds=job.reports[0].seconds)
        assert one.truth.whole_at(SHARD, TARGET)


def test_what_a_site_fetched_before_it_went_down_is_paid(monkeypatch: pytest.MonkeyPatch) -> None:
    with bench(monkeypatch, CLOUD) as one:
        job = begin(one, copy(CLOUD))
        one.after(SIZE / job.rate / 4, lambda: one.ground.away(TARGET, HOUR))
        run(one)
        assert job.done == pytest.approx(SIZE / 4)
        assert one.hands.egress_cost == pytest.approx(
            SIZE / 1e12 * one.truth.places[CLOUD].egress / 4
        )
        assert one.truth.whole_at(SHARD, TARGET) is None
