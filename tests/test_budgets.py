"""The centre's books of what providers allow, on both databases."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from pydantic import ValidationError
from sqlmodel import select

from fleet.control import leases, sites
from fleet.control.errors import RefusedError
from fleet.control.ranking import Ranking
from fleet.control.sites import ProviderSpec
from fleet.messages import Heartbeat, HeartbeatAnswer, Order, Share, SourceReport, Throttle
from fleet.planning.budgets import WHOLE
from fleet.planning.providers import DEFAULTS, named
from fleet.store.database import Store
from fleet.store.tables import Incident, Provider, Slice
from tests.centre_support import Centre

HOST = "origin.example"


def limit(centre: Centre, **figures: object) -> None:
    """Share a budget of the host that all files of the tests come from."""
    usual: dict[str, object] = {"name": "origin", "hosts": (HOST,), "requests_per_minute": 600}
    spec = ProviderSpec.model_validate(usual | {"bytes_per_5_minutes": "300 MB"} | figures)
    sites.apply(centre.store, (), (spec,))


def share(answer: Order | HeartbeatAnswer) -> Share:
    [found] = answer.budget.shares
    return found


def rates(answer: Order | HeartbeatAnswer) -> list[float | None]:
    """The requests a second that may be sent now; none while no slice runs."""
    running = [one for one in share(answer).slices if one.begins == 0]
    return [one.requests_per_second for one in running]


def beat(centre: Centre, order: Order, **told: object) -> HeartbeatAnswer:
    message = Heartbeat.model_validate({"fence": order.fence, "wants": ("origin",)} | told)
    return leases.heartbeat(centre.store, centre.settings, order.attempt, order.site, message)


def waiting(centre: Centre) -> list[str]:
    return [one.reason for one in centre.transfers(kind="ingest", state="waiting")]


def copies(centre: Centre, path: str) -> list[Order]:
    """Have a file fetched; return the orders to copy it to two more sites."""
    centre.mirror(path)
    while True:
        centre.tick()
        orders = [one for one in centre.orders() if one.task == "pull"]
        if len(orders) > 1:
            return orders
        for one in orders:
            centre.report(one)


def booked(store: Store) -> list[Slice]:
    with store.read() as session:
        return list(session.exec(select(Slice)).all())


def test_orders_bring_slices_of_their_sources_providers(centre: Centre) -> None:
    limit(centre)
    centre.mirror("a.csv", "b.csv")
    centre.tick()
    shares = [share(order) for order in centre.orders()]
    assert [one.provider for one in shares] == ["origin", "origin"]
    assert [one.hosts for one in shares] == [(HOST,)] * 2
    [first], [second] = (one.slices for one in shares)
    assert first == second  # the one that was only announced counted
    assert (first.begins, first.requests_per_second, first.streams) == (0, 5.0, 4)
    assert first.bytes_per_second == 500_000
    assert 0 < first.ends <= centre.settings.lease_seconds


def test_what_no_provider_limits_needs_no_slice(centre: Centre) -> None:
    centre.mirror("a.csv")
    centre.tick()
    [order] = centre.orders()
    assert order.budget.shares == ()
    assert beat(centre, order).budget.shares == ()
    assert booked(centre.store) == []


def test_heartbeats_bring_the_next_slice_while_it_is_wanted(centre: Centre) -> None:
    limit(centre)
    centre.mirror("a.csv")
    centre.tick()
    [order] = centre.orders()
    for _ in range(10):
        centre.advance(centre.settings.lease_seconds / 3)
        assert rates(beat(centre, order)) == [10.0]
    for _ in range(3):
        centre.advance(centre.settings.lease_seconds / 3)
        told = beat(centre, order, wants=())
    assert share(told).slices == ()
    assert share(told).hosts == (HOST,)


def test_a_dead_holders_slice_is_anothers_within_its_lease(centre: Centre) -> None:
    limit(centre)
    centre.mirror("a.csv", "b.csv")
    centre.tick()
    _dead, order = centre.orders()
    waited = 0.0
    while rates(beat(centre, order)) != [10.0]:
        centre.advance(1)
        waited += 1
    assert waited <= centre.settings.lease_seconds


def test_an_outcome_gives_its_slices_back(centre: Centre) -> None:
    limit(centre)
    centre.mirror("a.csv", "b.csv")
    centre.tick()
    first, second = centre.orders()
    centre.report(first)
    assert {one.attempt_id for one in booked(centre.store)} == {second.attempt}
    centre.advance(1)
    assert rates(beat(centre, second)) == [10.0]


def test_a_paused_attempt_keeps_no_share_and_has_it_again_when_it_goes_on(centre: Centre) -> None:
    limit(centre)
    centre.mirror("a.csv")
    centre.tick()
    [order] = centre.orders()
    at_night = [{"timezone": "UTC", "opens": "00:00", "closes": "06:00"}]  # it is noon

    def beats(**details: object) -> HeartbeatAnswer:
        centre.apply_sites(order.site, **details)
        limit(centre)  # the sites file names it each time; as one that is new it rests for a lease
        for _ in range(4):
            centre.advance(centre.settings.lease_seconds / 3)
            answer = beat(centre, order)
        return answer

    paused = beats(windows=at_night)
    assert (paused.action, rates(paused)) == ("pause", [])
    assert booked(centre.store) == []
    goes = beats()
    assert (goes.action, rates(goes)) == ("continue", [10.0])


def test_a_stopped_attempt_is_given_nothing(centre: Centre) -> None:
    limit(centre)
    centre.mirror("a.csv")
    centre.tick()
    [order] = centre.orders()
    centre.report(order)
    answer = beat(centre, order)
    assert (answer.action, answer.budget.shares) == ("stop", ())
    assert booked(centre.store) == []


def test_transfers_beyond_the_streams_wait_unannounced_and_use_up_no_attempt(
    centre: Centre,
) -> None:
    limit(centre, streams=2)
    centre.mirror("a.csv", "b.csv", "c.csv")
    centre.tick()
    orders = centre.orders()
    assert len(orders) == 2
    assert waiting(centre) == ["waits for origin: its 2 streams are taken by other attempts"]
    [third] = centre.transfers(kind="ingest", state="waiting")
    assert third.attempts == 0
    assert third.not_before is not None
    centre.report(orders[0])
    centre.advance(centre.settings.lease_seconds)
    centre.tick()
    assert [site for _, site in centre.announced()] == [third.executor_id]


def test_an_unclaimed_attempt_keeps_its_room_for_seconds_only(centre: Centre) -> None:
    limit(centre, streams=1)
    centre.mirror("a.csv", "b.csv")
    centre.tick()
    assert len(centre.announced()) == 1
    assert len(waiting(centre)) == 1
    centre.advance(11)
    centre.tick()
    assert waiting(centre) == []


def test_a_429_shrinks_the_budget_of_all_at_once_and_it_recovers(centre: Centre) -> None:
    limit(centre)
    centre.mirror("a.csv", "b.csv")
    centre.tick()
    first, second = centre.orders()
    told = (Throttle(host=HOST),)
    assert rates(beat(centre, first, throttled=told)) == [2.5]
    assert rates(beat(centre, second, throttled=told)) == [2.5]  # one event, told twice
    assert rates(beat(centre, first)) == [2.5]
    for _ in range(24):
        centre.advance(5)
        rate = rates(beat(centre, first))
        beat(centre, second)
    assert rate == pytest.approx([3.0])


def test_an_outcome_that_tells_of_a_429_shrinks_what_no_heartbeat_told(centre: Centre) -> None:
    limit(centre)
    centre.mirror("a.csv", "b.csv", "c.csv")
    centre.tick()
    first, second, third = centre.orders()
    told = (SourceReport(host=HOST, requests=3, throttled=1, retry_after=0.0),)
    centre.report(first, sources=told)
    assert rates(beat(centre, third)) == [2.5]  # it has the half that is free
    centre.advance(60)
    centre.report(second, sources=told)  # claimed before that, it tells nothing new
    with centre.store.read() as session:
        row = session.get_one(Provider, "origin")
    assert row.factor == 0.5
    assert row.reason == f"{HOST} said that we ask too much"


def test_a_503_that_asks_for_nothing_is_no_limit(centre: Centre) -> None:
    limit(centre)
    centre.mirror("a.csv")
    centre.tick()
    [order] = centre.orders()
    centre.report(order, sources=(SourceReport(host=HOST, requests=3, errors=3, throttled=3),))
    with centre.store.read() as session:
        assert session.get_one(Provider, "origin").factor == 1.0


def test_a_retry_after_is_waited_for_by_all_with_its_reason(centre: Centre) -> None:
    limit(centre)
    centre.mirror("a.csv", "b.csv")
    for _ in range(2):
        centre.dispatch()
    centre.tick()
    first, second = centre.orders()
    beat(centre, first, throttled=(Throttle(host=HOST, retry_after=120),))
    assert rates(beat(centre, second)) == []
    assert share(beat(centre, second)).reason.startswith("origin is left alone for a while")
    centre.mirror("c.csv", key="again")
    centre.tick()
    [reason] = waiting(centre)
    assert reason == (
        f"origin is left alone for a while: {HOST} said that we ask too much, and to wait 120 s"
    )
    centre.advance(121)
    centre.tick()
    assert waiting(centre) == []


def test_claims_and_heartbeats_at_once_never_book_more_than_the_whole(centre: Centre) -> None:
    centre.apply_sites("toronto", "amsterdam", "netcup", slots=100)
    limit(centre, streams=7)
    centre.mirror(*(f"{number}.csv" for number in range(12)))
    centre.tick()

    def work(claimed: tuple[str, str]) -> None:
        try:
            order = centre.claim(*claimed)
        except RefusedError:
            return
        for _ in range(3):
            beat(centre, order)

    with ThreadPoolExecutor(7) as pool:
        list(pool.map(work, centre.announced()))
    rows = booked(centre.store)
    assert len({row.attempt_id for row in rows}) == 7
    edges = sorted({moment for row in rows for moment in (row.starts, row.until)})
    for begins, _ in pairwise(edges):
        assert sum(row.share for row in rows if row.starts <= begins < row.until) <= WHOLE
    now = max(row.starts for row in rows)
    assert sum(row.share for row in rows if row.starts <= now < row.until) > 0.99 * WHOLE


def test_a_provider_that_is_new_rests_until_who_may_use_it_has_heard(centre: Centre) -> None:
    centre.mirror("a.csv")
    centre.tick()
    [order] = centre.orders()
    limit(centre)
    centre.mirror("b.csv", key="again")
    centre.tick()
    [reason] = waiting(centre)
    assert reason == (
        "origin is left alone for a while: attempts that began before its budget was known "
        "still use it"
    )
    assert rates(beat(centre, order)) == []
    centre.advance(centre.settings.lease_seconds)
    centre.tick()
    assert waiting(centre) == []
    assert rates(beat(centre, order)) == [5.0]


def test_a_copy_with_a_fleet_copy_asks_for_no_slice_of_its_origin(centre: Centre) -> None:
    limit(centre, streams=1)
    orders = copies(centre, "a.csv")
    assert all(share(one).slices == () for one in orders)
    assert all(row.share == 0 for row in booked(centre.store))
    answer = beat(centre, orders[0])
    assert rates(answer) == [10.0]  # once it says that it wants it


def test_a_copy_of_a_site_with_an_incident_comes_after_origins(centre: Centre) -> None:
    [before, *_] = copies(centre, "a.csv")
    held = before.items[0].sources[0].site
    assert held is not None
    with centre.store.write() as session:
        now = centre.store.now(session)
        session.add(Incident(site_id=held, kind="probe", reason="is dead", began_at=now))
        now += timedelta(seconds=1)
    with centre.store.read() as session:
        ranking = Ranking(session, before.site, now)
        asked = [one for one in before.items[0].sources if one.kind == "http"]
        ranked = ranking.order(asked)
    assert [one.site for one in ranked] == [None, held]
    assert ranking.places[1]["reason"] == (
        f"a verified copy at {held}, not measured yet, last, because of an incident: is dead"
    )


def _file(folder: Path, providers: str) -> Path:
    path = folder / "sites.yaml"
    path.write_text(f"sites: []\nproviders:\n{providers}")
    return path


def test_a_sites_file_says_otherwise_for_a_known_provider(store: Store, tmp_path: Path) -> None:
    path = _file(tmp_path, "  - {name: zenodo, requests_per_minute: 100, source: members}\n")
    sites.apply(store, ())
    assert sites.apply(store, (), sites.read_providers(path)) == [
        "provider zenodo: requests_per_minute, source changed"
    ]
    with store.read() as session:
        row = session.get_one(Provider, "zenodo")
    assert (row.requests_per_minute, row.streams, row.source) == (100, 2, "members")
    assert sites.apply(store, ()) == ["provider zenodo: requests_per_minute, source changed"]


def test_a_provider_of_ones_own_comes_and_goes_with_the_file(store: Store, tmp_path: Path) -> None:
    path = _file(
        tmp_path, "  - {name: own, hosts: ['*.own.example'], bytes_per_5_minutes: 30 GB}\n"
    )
    sites.apply(store, ())
    assert sites.apply(store, (), sites.read_providers(path)) == ["provider own: added"]
    assert sites.apply(store, (), sites.read_providers(path)) == []
    with store.read() as session:
        assert session.get_one(Provider, "own").bytes_per_5_minutes == 30 * 10**9
    assert sites.apply(store, ()) == ["provider own: not in the file, its limits are lifted"]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("{name: own}", "provider own has no hosts: give the patterns"),
        ("{name: zenodo, hosts: []}", "provider zenodo has no hosts"),
        ("{name: own, hosts: ['https://x']}", "own.hosts.1: String should match"),
        ("{name: own, hosts: [x.example], streams: 0}", "own.streams: Input should be"),
        ("{name: zenodo, requests: 3}", "zenodo.requests: Extra inputs"),
        ("{name: zenodo}\n  - {name: zenodo}", "provider zenodo is there twice"),
    ],
)
def test_what_is_wrong_in_a_providers_line_is_named(tmp_path: Path, line: str, told: str) -> None:
    path = _file(tmp_path, f"  - {line}\n")
    with pytest.raises(RefusedError) as refused:
        sites.read_providers(path)
    assert str(refused.value).startswith(f"{path}: ")
    assert told in str(refused.value)


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("zenodo.org", "zenodo"),
        ("ZENODO.org:8443", "zenodo"),
        ("ia800301.us.archive.org", "archive.org"),
        ("data.source.coop", "source.coop"),
        ("pub-1234.r2.dev", "r2"),
        ("notzenodo.org", None),
        ("r2.dev.example", None),
    ],
)
def test_hosts_are_known_by_their_names(host: str, name: str | None) -> None:
    found = named(host, DEFAULTS)
    assert (found and found.name) == name


def test_every_default_says_where_its_figures_come_from() -> None:
    assert {one.name for one in DEFAULTS} == {"zenodo", "archive.org", "source.coop", "r2"}
    assert all(one.source for one in DEFAULTS)


def test_the_books_outlast_a_restart_of_the_centre(centre: Centre) -> None:
    limit(centre)
    centre.mirror("a.csv", "b.csv")
    centre.tick()
    first, _ = centre.orders()
    again = Centre(
        Store(
            str(centre.store.engine.url.render_as_string(hide_password=False)), centre.store.clock
        ),
        centre.folder,
    )
    again.advance(timedelta(seconds=1).total_seconds())
    assert rates(beat(again, first)) == [5.0]
    again.store.close()


def test_a_heartbeat_that_tells_of_hosts_without_end_is_refused() -> None:
    many = {"wants": ["p"] * 10_001, "throttled": [{"host": "h" * 2001}]}
    for field, told in many.items():
        with pytest.raises(ValidationError, match="at most"):
            Heartbeat.model_validate({"fence": 1, field: told})
    with pytest.raises(ValidationError, match="at most 2000"):
        SourceReport(host="h" * 2001)
