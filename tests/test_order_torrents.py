"""The torrent as a source of an order: when it is one, whom it names, and why if it is none."""

from urllib.parse import parse_qs, urlsplit

import pytest
from sqlmodel import select

from fleet.control import observations, why
from fleet.control.rules import RuleSpec
from fleet.messages import ItemResult, Observation, Order, Source
from fleet.store.tables import Artifact, Rule, Shard
from tests.centre_support import MOMENT, Centre

SITES = ("toronto", "amsterdam", "netcup")


@pytest.fixture
def hidden(centre: Centre) -> Centre:
    """A centre whose sites are read by nobody over HTTP and have no address; toronto holds all."""
    centre.apply_sites(*SITES, read_url="")
    centre.mirror("a.csv", "b.csv", rule=RuleSpec(selector="id=toronto"))
    centre.work()
    return centre


def _spread(centre: Centre, *sites: str) -> dict[str, Order]:
    """Have the shard copied to these sites as well; return their orders."""
    with centre.store.write() as session:
        session.exec(select(Rule)).one().selector = " | ".join(f"id={one}" for one in sites)
    centre.apply_sites("toronto", read_url="")  # has every rule looked at
    centre.tick()
    return {order.site: order for order in centre.orders()}


def _forget_origins(centre: Centre) -> None:
    with centre.store.write() as session:
        for one in session.exec(select(Artifact)).all():
            one.origins = []


def _peers(source: Source) -> set[str]:
    return set(parse_qs(urlsplit(source.url).query).get("x.pe", ()))


def _reasons(centre: Centre, order: Order) -> dict[str, tuple[str, str]]:
    """What `fleet why` says of the sources of an order's attempt."""
    with centre.store.read() as session:
        causes = why.explain(session, order.attempt, centre.store.now(session)).causes
    return {
        one.thing.removeprefix("source "): (one.state, one.reason)
        for one in causes
        if one.thing.startswith("source ")
    }


def _fail(centre: Centre, order: Order) -> None:
    failed = tuple(
        ItemResult(artifact=one.artifact, ok=False, reason="no source has it", fault="source")
        for one in order.items
    )
    centre.report(order, items=failed)


def test_a_site_that_can_be_dialled_has_it_by_torrent_before_its_origins(hidden: Centre) -> None:
    hidden.apply_sites("amsterdam", read_url="", peer="amsterdam.example:6881")
    order = _spread(hidden, "toronto", "amsterdam")["amsterdam"]
    for item in order.items:
        assert [one.kind for one in item.sources] == ["torrent", "http"]
        assert item.sources[0].url.startswith("magnet:?xt=urn:btih:")
        assert _peers(item.sources[0]) == set()  # toronto has no address: it dials amsterdam
    reasons = _reasons(hidden, order)
    assert reasons["torrent"] == (
        "ranked",
        "its torrent: 1 seeding, 0 fetching, they dial this site",
    )
    assert reasons["origin.example"][0] == "ranked"


def test_two_sites_without_addresses_are_both_told_of_a_third_that_is_fetching(
    hidden: Centre,
) -> None:
    hidden.apply_sites("netcup", read_url="", peer="[2001:db8::1]:6881")
    orders = _spread(hidden, *SITES)
    assert set(orders) == {"amsterdam", "netcup"}
    assert _peers(orders["amsterdam"].items[0].sources[0]) == {"[2001:db8::1]:6881"}
    assert _peers(orders["netcup"].items[0].sources[0]) == set()
    assert _reasons(hidden, orders["amsterdam"])["torrent"] == (
        "ranked",
        "its torrent: 1 seeding, 1 fetching, 1 of them can be dialled",
    )


def test_a_copy_over_http_comes_before_the_torrent(hidden: Centre) -> None:
    hidden.apply_sites("toronto", peer="toronto.example:6881")
    with hidden.store.write() as session:
        session.exec(select(Rule)).one().selector = "kind=node"
    hidden.apply_sites("toronto", peer="toronto.example:6881")
    hidden.tick()
    for order in hidden.orders():
        first, second, third = order.items[0].sources
        assert (first.site, first.kind, second.kind, third.site) == (
            "toronto",
            "http",
            "torrent",
            None,
        )
        assert _peers(second) == {"toronto.example:6881"}


def test_the_torrent_is_left_out_with_its_reason_where_nobody_can_be_dialled(
    hidden: Centre,
) -> None:
    order = _spread(hidden, "toronto", "amsterdam")["amsterdam"]
    assert [one.kind for one in order.items[0].sources] == ["http"]
    assert _reasons(hidden, order)["torrent"] == (
        "left out",
        "neither who seeds it nor this site has an address that could be dialled",
    )


def test_a_shard_that_is_not_sealed_has_no_torrent(centre: Centre) -> None:
    centre.apply_sites(*SITES, peer="anywhere.example:6881")
    centre.mirror("a.csv", "b.csv")
    centre.tick()
    for _ in range(2):
        for order in centre.orders():
            assert {one.kind for item in order.items for one in item.sources} <= {"http"}
            centre.report(order)
        centre.tick()


def test_what_can_be_had_from_nobody_waits_with_that_reason_and_goes_on_when_somebody_can(
    hidden: Centre,
) -> None:
    _forget_origins(hidden)
    order = _spread(hidden, "toronto", "amsterdam")["amsterdam"]
    _fail(hidden, order)  # the first attempt is made: its files may lie there already
    for _ in range(10):
        hidden.advance(400)
        hidden.tick()
        assert hidden.announced() == []
    [copy] = [one for one in hidden.transfers(kind="copy") if one.target_id == "amsterdam"]
    assert (copy.state, copy.attempts) == ("waiting", 1)
    with hidden.store.read() as session:
        now = hidden.store.now(session)
        cause = why.explain(session, copy.id, hidden.store.now(session)).causes[0]
    assert cause.reason.startswith(
        "amsterdam can get it from nobody: no verified copy is read over HTTP, 2 files have no "
        "origin left, and as to its torrent: neither who seeds it nor this site has an address"
    )
    assert cause.again is not None
    assert 0 < (cause.again - now).total_seconds() <= 300
    hidden.apply_sites("amsterdam", read_url="", peer="amsterdam.example:6881")
    hidden.advance(301)
    hidden.tick()
    [again] = hidden.orders()
    assert [one.kind for one in again.items[0].sources] == ["torrent"]


def test_a_verify_names_the_torrent_where_others_seed_the_shard(hidden: Centre) -> None:
    hidden.apply_sites("amsterdam", read_url="", peer="amsterdam.example:6881")
    hidden.report(_spread(hidden, "toronto", "amsterdam")["amsterdam"])
    with hidden.store.read() as session:
        shard = session.exec(select(Shard.id).order_by(Shard.position)).first()
    for site in ("toronto", "amsterdam"):  # a copy in doubt mends the other one's pieces
        seen = Observation(kind="bit rot", site=site, shard=shard, at=MOMENT)
        observations.keep(hidden.store, seen)
    hidden.tick()
    orders = {order.site: order for order in hidden.orders()}
    assert {order.task for order in orders.values()} == {"verify"}
    for item in orders["toronto"].items:
        [torrent] = item.sources
        assert _peers(torrent) == {"amsterdam.example:6881"}
    assert _peers(orders["amsterdam"].items[0].sources[0]) == set()


def test_a_verify_of_the_only_copy_names_no_torrent(hidden: Centre) -> None:
    with hidden.store.read() as session:
        shard = session.exec(select(Shard.id).order_by(Shard.position)).first()
    seen = Observation(kind="bit rot", site="toronto", shard=shard, at=MOMENT)
    observations.keep(hidden.store, seen)
    hidden.tick()
    [order] = hidden.orders()
    assert [item.sources for item in order.items] == [(), ()]
    assert _reasons(hidden, order) == {"torrent": ("left out", "nobody else seeds it")}


def test_a_verify_brings_the_web_seeds_of_the_others_along(centre: Centre) -> None:
    centre.mirror("a.csv", "b.csv")
    centre.prove()
    with centre.store.read() as session:
        shard = session.exec(select(Shard.id).order_by(Shard.position)).first()
    seen = Observation(kind="bit rot", site="toronto", shard=shard, at=MOMENT)
    observations.keep(centre.store, seen)
    centre.tick()
    [order] = [one for one in centre.orders() if one.task == "verify"]
    [torrent] = order.items[0].sources
    fields = parse_qs(urlsplit(torrent.url).query)
    assert set(fields["ws"]) == {"http://amsterdam.example/", "http://netcup.example/"}
    assert _reasons(centre, order)["torrent"] == (
        "ranked",
        "its torrent: 2 seeding, 0 fetching, 0 of them can be dialled, 2 web seeds",
    )
