"""Which copies torrents name as web seeds: those that another site has read a piece of."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlmodel import col, select

from fleet.control import observations, probes, torrents, why
from fleet.control.rules import RuleSpec
from fleet.messages import Item, ItemResult, Observation, Order
from fleet.store.tables import Artifact, Incident, Replica, Shard
from fleet.torrent.parsed import parse
from tests import centre_support
from tests.centre_support import MOMENT, Centre, content
from tests.databases import on_sqlite
from tests.fault_server import FaultServer
from tests.holdings_support import hold
from tests.pull_support import Site, noise
from workers.lease import Lease
from workers.probe import probe

SITES = {"toronto", "amsterdam", "netcup"}


@pytest.fixture
def published(centre: Centre) -> Centre:
    """A centre whose three sites hold a bundle, which nobody has probed yet."""
    centre.mirror("a.csv", "longer-name.csv")
    centre.work()
    return centre


def _listed(centre: Centre) -> set[str]:
    """The sites that the first torrent names as web seeds."""
    with centre.store.read() as session:
        infohash = session.exec(select(Shard.infohash).order_by(Shard.id)).first() or ""
        found = parse(torrents.torrent_file(session, infohash)).web_seeds
    return {url.removeprefix("http://").partition(".")[0] for url in found}


def _why(centre: Centre, site: str) -> tuple[str, str]:
    """What `fleet why` says of a site's copy as a web seed."""
    with centre.store.read() as session:
        copies = select(Replica).join(Shard, col(Shard.id) == col(Replica.shard_id))
        first = copies.where(Replica.site_id == site).order_by(Shard.position)
        replica = session.exec(first).first()
        name, now = replica.id if replica else "", centre.store.now(session)
        causes = why.explain(session, name, now).causes
    [found] = [one for one in causes if one.thing == f"web seed at {site}"]
    return found.state, found.reason


def _probes(centre: Centre, seconds: float = 300) -> dict[str, Order]:
    """Let the time pass; claim the probes that are due then, by the site they ask."""
    centre.advance(seconds)
    centre.tick()
    found = {}
    for order in centre.orders():
        assert order.task == "probe"
        if order.items:
            found[order.items[0].sources[0].site or ""] = order
    return found


def _data(order: Order) -> Item:
    """The one item of an order that is no manifest."""
    [item] = [one for one in order.items if not one.path.endswith("/manifest.json")]
    return item


def _report(
    centre: Centre, order: Order, *, fault: str = "", but: Callable[[str], bool] = bool
) -> None:
    """Report that the items were served right, or with a fault where ``but`` holds of the path."""
    items = tuple(
        ItemResult(artifact=one.artifact, ok=False, reason="cut at 5000 bytes", fault=fault)
        if fault and but(one.path)
        else ItemResult(artifact=one.artifact, ok=True)
        for one in order.items
    )
    centre.report(order, items=items)


def test_a_copy_is_a_web_seed_once_another_site_has_read_a_piece_of_it(published: Centre) -> None:
    assert _listed(published) == set()
    state, reason = _why(published, "toronto")
    assert state == "not listed"
    assert reason.startswith("no other site has read a whole piece of it by a range since")
    probes = _probes(published, 5)
    assert set(probes) == SITES
    _report(published, probes["toronto"])
    assert _listed(published) == {"toronto"}
    observer = probes["toronto"].site
    assert observer != "toronto"
    read = f"{observer} read a whole piece of it by a range 2026-03-01 12:00:05 UTC"
    again = f"{_next(published, 'toronto')} probes it next"
    assert _why(published, "toronto") == ("listed", f"{read}; {again}")


def _next(centre: Centre, site: str) -> str:
    [probe] = [one for one in centre.transfers(kind="probe") if one.target_id == site]
    return probe.executor_id


def test_a_probe_asks_for_the_largest_file_of_a_copy_below_the_sites_root(
    published: Centre,
) -> None:
    order = _probes(published, 5)["toronto"]
    item = _data(order)
    with published.store.read() as session:
        largest = session.exec(select(Artifact).where(Artifact.path == "longer-name.csv")).one()
    assert (item.artifact, order.shard, order.folder) == (largest.id, None, "")
    assert item.path.startswith("data/")
    assert item.path.endswith("/longer-name.csv")
    assert item.sources[0].url == f"http://toronto.example/{item.path}"
    assert item.sample is not None
    assert (item.sample.start, item.sample.length) == (0, len(content("longer-name.csv")))


@pytest.mark.parametrize(("fault", "listed"), [("source", False), ("local", True)])
def test_a_fault_of_the_source_takes_a_web_seed_off_until_it_is_read_again(
    published: Centre, fault: str, listed: bool
) -> None:
    published.prove()
    _report(published, _probes(published)["toronto"], fault=fault)
    assert ("toronto" in _listed(published)) is listed
    assert published.replicas()["toronto"] == ["available"]
    _report(published, _probes(published)["toronto"])
    assert _listed(published) == SITES


def test_a_copy_that_was_verified_anew_has_to_be_proved_anew(published: Centre) -> None:
    published.prove()
    _report(published, _probes(published)["toronto"], fault="corrupt")
    assert _why(published, "toronto")[1].startswith("it is suspect")
    published.work()  # it is verified where it lies
    assert published.replicas()["toronto"] == ["available"]
    assert _listed(published) == SITES - {"toronto"}
    published.prove()
    assert _listed(published) == SITES


def test_a_reading_from_before_the_last_verify_proves_nothing(published: Centre) -> None:
    early = _probes(published, 5)["toronto"]
    with published.store.read() as session:
        shard = session.exec(select(Shard.id).where(Shard.name != "manifest.json")).one()
    seen = Observation(kind="bit rot", site="toronto", shard=shard, at=MOMENT)
    observations.keep(published.store, seen)
    published.advance(1)
    published.tick()
    for order in published.orders():
        published.report(order)
    assert published.replicas()["toronto"] == ["available"]
    _report(published, early)
    assert "toronto" not in _listed(published)


def test_an_open_incident_takes_all_web_seeds_of_a_site_off_until_it_ends(
    published: Centre,
) -> None:
    published.prove()
    with published.store.write() as session:
        now = published.store.now(session)
        incident = Incident(site_id="netcup", kind="probe", reason="it answers 503", began_at=now)
        session.add(incident)
        kept = incident.id
    assert _listed(published) == SITES - {"netcup"}
    assert _why(published, "netcup")[1].startswith("its site is at fault: it answers 503; ")
    with published.store.write() as session:
        session.get_one(Incident, kept).ended_at = now + timedelta(seconds=1)
    assert _listed(published) == SITES


@pytest.fixture
def apart(centre: Centre) -> Centre:
    """A centre whose three sites hold twenty files, each a shard, which nobody has probed yet."""
    hold(centre, 20, sorted(SITES))
    with centre.store.write() as session:
        for site in sorted(SITES):
            probes.ensure(session, site, centre.store.now(session))
    return centre


def test_many_new_copies_are_proved_within_a_minute_several_at_once(apart: Centre) -> None:
    first = _probes(apart, 5)
    assert {len({one.path for one in order.items}) for order in first.values()} == {8}
    for order in first.values():
        _report(apart, order)
    for _ in range(10):
        for order in _probes(apart, 5).values():
            _report(apart, order)
    with apart.store.read() as session:
        rows = session.exec(select(Replica)).all()
    assert len(rows) == 60
    assert all(one.proved_at and one.proved_by not in (None, one.site_id) for one in rows)
    assert _probes(apart, 5) == {}  # and then in their own time


def test_one_bad_copy_holds_up_no_other_and_is_no_incident(apart: Centre) -> None:
    for _ in range(12):
        for order in _probes(apart, 300).values():
            _report(apart, order, fault="source", but=lambda path: path.endswith("/00007.csv"))
    with apart.store.read() as session:
        rows = session.exec(
            select(Artifact.path)
            .join(Replica, Replica.shard_id == Artifact.shard_id)
            .where(col(Replica.proved_at).is_(None))
        ).all()
        assert session.exec(select(Incident)).all() == []
    assert list(rows) == ["00007.csv"] * 3


def test_however_many_copies_cannot_be_read_the_others_stay_web_seeds(apart: Centre) -> None:
    bad = {f"{number:05}.csv" for number in range(10)}  # more than a probe reads

    def fault(path: str) -> bool:
        return path.rpartition("/")[2] in bad

    apart.prove()
    with apart.store.write() as session:
        for row in session.exec(
            select(Replica)
            .join(Artifact, Artifact.shard_id == Replica.shard_id)
            .where(Replica.site_id == "toronto", col(Artifact.path).in_(bad))
        ).all():
            row.proved_at = None
    read = set()
    for _ in range(8):
        order = _probes(apart)["toronto"]
        items = [one.path for one in order.items if not fault(one.path)]
        assert len(items) == 4
        read |= set(items)
        _report(apart, order, fault="source", but=fault)
    assert len(read) == 10
    with apart.store.read() as session:
        assert session.exec(select(Incident)).all() == []


def test_faults_of_copies_that_were_never_read_right_are_no_incident(apart: Centre) -> None:
    apart.prove()
    with apart.store.write() as session:
        for row in session.exec(select(Replica).where(Replica.site_id == "toronto")).all()[4:]:
            row.proved_at = None
        proved = select(Artifact.id).join(Replica, Replica.shard_id == Artifact.shard_id)
        proved = proved.where(Replica.site_id == "toronto", col(Replica.proved_at).is_not(None))
        kept = set(session.exec(proved).all())
    for _ in range(3):
        order = _probes(apart)["toronto"]
        items = tuple(
            ItemResult(artifact=one.artifact, ok=False, reason="it answers 403", fault="source")
            for one in order.items
            if one.artifact not in kept  # of the others the observer says nothing
        )
        assert len(items) == 4
        apart.report(order, items=items)
    with apart.store.read() as session:
        assert session.exec(select(Incident)).all() == []


def test_two_probes_that_were_served_nothing_right_open_an_incident_and_one_ends_it(
    apart: Centre,
) -> None:
    apart.prove()

    def incident() -> Incident | None:
        with apart.store.read() as session:
            return session.exec(select(Incident)).one_or_none()

    for opened in (False, True):
        order = _probes(apart)["toronto"]
        assert len(order.items) == 8
        _report(apart, order, fault="source")
        assert (incident() is not None) is opened
    assert "toronto" not in _listed(apart)  # those of its copies too that were not asked for
    _report(apart, _probes(apart)["toronto"], fault="source", but=lambda path: "00000" not in path)
    _report(apart, _probes(apart)["toronto"])
    found = incident()
    assert found is not None
    assert found.ended_at is not None


def test_a_sites_own_word_proves_nothing(centre: Centre) -> None:
    centre.mirror("a.csv", rule=RuleSpec(selector="id=toronto"))
    centre.work()
    centre.apply_sites("amsterdam", "netcup", retired=True)
    orders = [*_probes(centre, 5).values(), *_probes(centre, 300).values()]
    assert "toronto" in {order.site for order in orders}
    for order in orders:
        if order.site == "toronto":
            _report(centre, order)
    assert _listed(centre) == set()


def test_what_an_outcome_says_of_copies_that_it_was_not_asked_of_counts_for_nothing(
    apart: Centre,
) -> None:
    order = _probes(apart, 5)["toronto"]
    asked = [one.artifact for one in order.items]
    with apart.store.read() as session:
        others = [one for one in session.exec(select(Artifact.id)).all() if one not in asked]
    lies = [
        ItemResult(artifact=one, ok=number % 2 == 0, fault="corrupt" if number % 2 else "")
        for number, one in enumerate(["ar-unknown", *others])
    ]
    items = (*lies, *(ItemResult(artifact=one, ok=True) for one in asked))
    apart.report(order, items=items)
    with apart.store.read() as session:
        proved = session.exec(
            select(Replica.site_id, Artifact.id)
            .join(Artifact, Artifact.shard_id == Replica.shard_id)
            .where(col(Replica.proved_at).is_not(None))
        ).all()
    assert sorted(proved) == sorted(("toronto", one) for one in asked)
    assert apart.replicas()["toronto"] == ["available"] * 20


def test_of_what_an_outcome_says_twice_the_first_counts(published: Centre) -> None:
    published.prove()
    order = _probes(published)["toronto"]
    one = _data(order)
    said = ItemResult(artifact=one.artifact, ok=True)
    lie = ItemResult(artifact=one.artifact, ok=False, fault="corrupt", reason="I say so")
    published.report(order, items=(said, lie))
    assert published.replicas()["toronto"] == ["available"]
    assert "toronto" in _listed(published)
    [probe] = [one for one in published.transfers(kind="probe") if one.target_id == "toronto"]
    with published.store.read() as session:
        causes = why.explain(session, probe.id, published.store.now(session)).causes
    assert f"source toronto asked {one.path}" in {
        f"{cause.thing} {cause.state} {cause.reason}" for cause in causes
    }


def test_a_site_that_is_read_elsewhere_has_to_be_proved_anew(published: Centre) -> None:
    published.prove()
    published.apply_sites("toronto", read_url="http://elsewhere.example")
    assert _listed(published) == SITES - {"toronto"}
    published.prove()
    assert _listed(published) == (SITES - {"toronto"}) | {"elsewhere"}
    published.apply_sites("toronto", read_url="")
    assert _listed(published) == SITES - {"toronto"}
    assert _why(published, "toronto")[1].startswith("its site is not read over HTTP")


def test_a_probe_of_where_a_site_was_read_before_proves_nothing_of_where_it_is_read_now(
    published: Centre,
) -> None:
    order = _probes(published, 5)["toronto"]
    published.apply_sites("toronto", read_url="http://never-read.example")
    answer = published.beat(order)
    assert answer.action == "stop"
    verdict = published.report(order)
    assert not verdict.applied
    assert verdict.reason.endswith("toronto is read elsewhere now")
    assert _listed(published) == set()
    item = _probes(published, 5)["toronto"].items[0]
    assert item.sources[0].url.startswith("http://never-read.example/")


@on_sqlite
@pytest.mark.parametrize(
    ("fault", "options", "listed"),
    [
        ("", {}, True),
        ("short_ranges", {"most": 5000}, False),
        ("no_ranges", {}, False),
        ("truncated", {"cuts": (5000,)}, False),
        ("wrong_bytes", {}, False),
        ("redirect", {}, False),
    ],
)
def test_only_a_server_that_gives_a_whole_piece_by_a_range_is_listed(
    centre: Centre,
    site: Site,
    server: FaultServer,
    monkeypatch: pytest.MonkeyPatch,
    fault: str,
    options: dict[str, Any],
    listed: bool,
) -> None:
    body = noise(2_500_000)
    monkeypatch.setattr(centre_support, "content", {"large.bin": body}.__getitem__)
    centre.settings = centre.settings.model_copy(update={"alone_from": len(body)})
    centre.apply_sites("toronto", read_url=server.url("root"))
    centre.mirror("large.bin")
    centre.work()
    order = _probes(centre, 5)["toronto"]
    large = _data(order)
    server.serve(f"root/{large.path}", body, *([fault] if fault else []), **options)

    work = probe(order, Lease(), site.settings())
    centre.report(order, items=work.items, sources=work.sources)

    assert [one.ok for one in work.items if one.artifact == large.artifact] == [listed]
    state, reason = _why(centre, "toronto")
    assert state == ("listed" if listed else "not listed"), reason
