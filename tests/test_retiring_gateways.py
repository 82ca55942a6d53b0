"""When a gateway goes, or what it fronts: their bytes are the same."""

from datetime import timedelta

import pytest
from sqlalchemy import update
from sqlmodel import select

from fleet.control import sites, why
from fleet.control.sites import SiteSpec
from fleet.planning.repair import URGENT
from fleet.store.tables import Incident, Rule, Shard, Site, Tombstone
from tests.centre_support import Centre
from tests.holdings_support import hold, states
from tests.retirement_support import apply, is_retired, retire, silence, waits


def test_a_gateway_does_not_take_the_place_of_what_it_fronts(centre: Centre) -> None:
    hold(centre, 1, ("toronto", "amsterdam"))
    with centre.store.write() as session:
        session.get_one(Site, "amsterdam").fronts = ["toronto"]
    assert "of 1 shard as there must be" in retire(centre, "toronto")


def _fronts(centre: Centre, gateway: str, *sites: str) -> None:
    with centre.store.write() as session:
        session.get_one(Site, gateway).fronts = list(sites)


def _add(centre: Centre, **values: object) -> None:
    with centre.store.write() as session:
        session.add(Site(kind="archive", driver="posix", **values))


def _marked(centre: Centre) -> list[str]:
    """Name the sites of the copies that are to be dropped."""
    with centre.store.read() as session:
        return list(session.exec(select(Tombstone.site_id)).all())


@pytest.mark.parametrize("expired", [False, True])
def test_a_site_that_a_gateway_fronts_goes_once_a_third_has_what_it_holds(
    centre: Centre, *, expired: bool
) -> None:
    [shard] = hold(centre, 1, ("toronto", "amsterdam"), copies=1)
    _fronts(centre, "amsterdam", "toronto")
    if expired:
        with centre.store.write() as session:
            session.exec(update(Rule).values(expires=centre.store.now(session)))
    apply(centre, "toronto", retired=True)
    centre.work()
    assert states(centre.store, "netcup") == {shard: "available"}
    centre.advance(600)
    centre.work()
    assert is_retired(centre, "toronto")
    centre.advance(86_400)
    centre.work()
    assert _marked(centre) == []  # what the gateway has went with toronto
    with centre.store.read() as session:
        head = why.explain(session, "amsterdam", centre.store.now(session)).causes[0]
    assert "it fronts toronto, which was retired or is to be" in head.reason


def test_a_gateway_takes_the_place_of_what_it_fronts_while_that_is_silent(
    centre: Centre,
) -> None:
    hold(centre, 1, ("toronto", "amsterdam", "netcup"))
    _fronts(centre, "amsterdam", "netcup")
    silence(centre, "netcup")
    assert retire(centre, "toronto") == "retired"


def test_two_gateways_to_a_site_that_is_silent_take_one_place(centre: Centre) -> None:
    hold(centre, 1, ("toronto", "amsterdam", "netcup"), copies=2, least=2)
    _add(centre, id="archive", silent=True)
    _fronts(centre, "amsterdam", "archive")
    _fronts(centre, "netcup", "archive")
    assert "of 1 shard as there must be" in retire(centre, "toronto")
    _, [reason] = waits(centre, "toronto")
    assert reason.startswith("held 1: 1 of 2 good copies")


def test_of_gateways_in_a_chain_the_one_that_the_other_fronts_takes_their_place(
    centre: Centre,
) -> None:
    hold(centre, 1, ("toronto", "amsterdam", "netcup"))
    _add(centre, id="archive", silent=True)
    _fronts(centre, "amsterdam", "netcup")
    _fronts(centre, "netcup", "archive")
    assert retire(centre, "toronto") == "retired"


def test_a_gateway_that_goes_with_a_retired_site_takes_the_place_of_no_other_gateway(
    centre: Centre,
) -> None:
    hold(centre, 1, ("toronto", "amsterdam", "netcup"))
    _add(centre, id="archive", silent=True)
    _add(centre, id="vault", retired=True)
    _fronts(centre, "amsterdam", "archive", "vault")
    _fronts(centre, "netcup", "archive")
    assert retire(centre, "toronto") == "retired"


def test_a_gateway_takes_the_place_of_what_it_fronts_while_that_is_judged(centre: Centre) -> None:
    hold(centre, 1, ("toronto", "amsterdam", "netcup"))
    _fronts(centre, "amsterdam", "netcup")
    with centre.store.write() as session:
        began = centre.store.now(session) + timedelta(seconds=1)
        session.add(
            Incident(site_id="netcup", kind="judged", reason="rot", began_at=began, stage="reading")
        )
    assert retire(centre, "toronto") == "retired"


def test_a_gateway_goes_at_once_when_what_it_fronts_has_all_of_it(centre: Centre) -> None:
    hold(centre, 1, ("toronto", "amsterdam"))
    _fronts(centre, "amsterdam", "toronto")
    assert "amsterdam: retired" in apply(centre, "amsterdam", fronts=["toronto"], retired=True)


def test_one_of_two_gateways_to_a_site_goes_while_the_site_stays(centre: Centre) -> None:
    hold(centre, 1, ("toronto", "amsterdam", "netcup"))
    _fronts(centre, "amsterdam", "toronto")
    _fronts(centre, "netcup", "toronto")
    assert "amsterdam: retired" in apply(centre, "amsterdam", fronts=["toronto"], retired=True)


def test_a_lost_gateway_takes_nothing_along_that_lies_behind_it(centre: Centre) -> None:
    hold(centre, 1, ("toronto", "amsterdam"), copies=3, least=3)
    _fronts(centre, "amsterdam", "toronto")
    lines = apply(centre, "amsterdam", fronts=["toronto"], retired="lost")
    assert "amsterdam: retired as lost; others have all that it held" in lines


def test_a_lost_site_takes_along_what_else_only_a_gateway_to_a_retired_site_has(
    centre: Centre,
) -> None:
    hold(centre, 1, ("toronto", "amsterdam"))
    _fronts(centre, "amsterdam", "netcup")
    apply(centre, "netcup", retired=True)
    lines = apply(centre, "toronto", retired="lost")
    assert any("retired as lost, with 1 shard of held that no other site" in one for one in lines)


def test_why_says_what_a_gateway_waits_for_but_not_that_what_it_fronts_goes_with_it(
    centre: Centre,
) -> None:
    hold(centre, 1, ("toronto", "amsterdam"), copies=3, least=2)
    _fronts(centre, "amsterdam", "toronto")
    apply(centre, "amsterdam", fronts=["toronto"], retired=True)
    _, [reason] = waits(centre, "amsterdam")
    assert reason == "held 1: 1 of 2 good copies"


def test_a_gateway_takes_nobodys_place_while_a_site_that_it_fronts_goes(centre: Centre) -> None:
    hold(centre, 1, ("toronto", "amsterdam"))
    _fronts(centre, "amsterdam", "netcup")
    apply(centre, "netcup", retired=True)
    assert "of 1 shard as there must be" in retire(centre, "toronto")
    _, [reason] = waits(centre, "toronto")
    assert "amsterdam fronts netcup, which was retired or is to be" in reason


def test_a_shard_that_only_a_gateway_to_a_retired_site_is_left_with_is_copied_at_once(
    centre: Centre,
) -> None:
    [shard] = hold(centre, 1, ("toronto", "amsterdam"), copies=1)
    _fronts(centre, "amsterdam", "toronto")
    apply(centre, "toronto", retired="lost")
    with centre.store.read() as session:
        found = why.explain(session, shard, centre.store.now(session)).causes
    [stands] = {one for one in found if one.state.endswith(" good")}
    assert stands.state == "0 good"
    assert "not the one at amsterdam, which goes with toronto" in stands.reason
    centre.tick()
    [copy] = centre.transfers(kind="copy", shard_id=shard)
    assert copy.priority >= URGENT


def test_a_gateway_that_goes_with_what_it_fronts_is_told_of_once(centre: Centre) -> None:
    specs = tuple(
        SiteSpec(id=name, kind="node", driver="posix", fronts=fronts, retired=retired)
        for name, fronts, retired in (
            ("amsterdam", ("netcup", "toronto"), False),
            ("toronto", ("netcup",), True),
            ("netcup", (), True),
        )
    )
    said = "fronts netcup, which was retired or is to be: it gets nothing new"
    told = [line for line in sites.apply(centre.store, specs) if said in line]
    assert [line.partition(":")[0] for line in told] == ["amsterdam"]
    assert sites.apply(centre.store, specs) == []


def test_why_says_of_a_gateway_that_it_is_silent_and_nothing_more_once_it_is_retired(
    centre: Centre,
) -> None:
    _fronts(centre, "amsterdam", "netcup")
    apply(centre, "netcup", retired=True)
    silence(centre, "amsterdam")
    head, _ = waits(centre, "amsterdam")
    assert head.state == "silent"
    assert "it fronts netcup, which was retired or is to be" in head.reason
    assert "it answers no wake-up" in head.reason
    apply(centre, "amsterdam", fronts=["netcup"], retired=True)
    head, _ = waits(centre, "amsterdam")
    assert (head.state, head.reason) == ("retired", "node")


def test_a_gateway_and_what_it_fronts_take_one_place_elsewhere(centre: Centre) -> None:
    hold(centre, 1, ("toronto", "amsterdam", "netcup"), copies=3, least=2)
    with centre.store.write() as session:
        session.get_one(Site, "amsterdam").fronts = ["netcup"]
    assert "of 1 shard as there must be" in retire(centre, "toronto")
    with centre.store.write() as session:
        session.get_one(Site, "amsterdam").fronts = []
    assert retire(centre, "toronto") == "retired"


def test_two_gateways_to_a_silent_site_are_too_few_for_an_expired_rule_that_keeps_two(
    centre: Centre,
) -> None:
    _add(centre, id="vault", silent=True)
    _add(centre, id="spare", read_url="http://spare.example")
    hold(centre, 1, ("toronto", "amsterdam", "netcup"), copies=2, least=2)
    _fronts(centre, "amsterdam", "vault")
    _fronts(centre, "netcup", "vault")
    with centre.store.write() as session:
        session.exec(update(Rule).values(expires=centre.store.now(session)))
        session.get_one(Site, "toronto").retiring = centre.store.now(session)
        for shard in session.exec(select(Shard)).all():
            shard.dirty = True
    centre.tick()
    assert [one.target_id for one in centre.transfers(kind="copy")] == ["spare"]


def test_a_shard_that_only_a_gateway_ever_had_is_repaired_once_what_it_fronts_goes(
    centre: Centre,
) -> None:
    [shard] = hold(centre, 1, ("amsterdam",), copies=1)
    _fronts(centre, "amsterdam", "netcup")
    centre.apply_sites("netcup", retired="lost")
    centre.tick()
    [copy] = centre.transfers(kind="copy")
    assert (copy.target_id, copy.priority >= URGENT) == ("toronto", True)
    with centre.store.read() as session:
        told = why.explain(session, shard, centre.store.now(session)).causes
    assert any(one.state == "0 good" for one in told)
