"""When a site is to go: which copies elsewhere take the place of its own."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text, update
from sqlmodel import col, delete, select

from fleet.control import placements, replicas, retirement, sites, why
from fleet.control.causes import Cause
from fleet.control.errors import UndoneError
from fleet.control.sites import SiteSpec
from fleet.planning.repair import URGENT
from fleet.store import holdings, transfers
from fleet.store.database import Store
from fleet.store.tables import Incident, Replica, Rule, Shard, Site, Tombstone
from tests.centre_support import Centre
from tests.databases import refusing, until_blocked
from tests.holdings_support import hold, states


def _retire(centre: Centre, site: str) -> str:
    with centre.store.write() as session:
        session.get_one(Site, site).retiring = centre.store.now(session)
    if retirement.look_at(centre.store, site):
        return "retired"
    with centre.store.read() as session:
        return retirement.waits(session, session.get_one(Site, site))


def _apply(centre: Centre, *names: str, **said: object) -> list[str]:
    """Apply a sites file of some sites; return what it says that it changed there."""
    usual = {"kind": "node", "driver": "posix"}
    specs = tuple(
        SiteSpec.model_validate(usual | {"id": name, "read_url": f"http://{name}.example"} | said)
        for name in names
    )
    lines = sites.apply(centre.store, specs)
    return [line for line in lines if line.partition(":")[0] in names]


def test_a_site_goes_at_once_when_another_holds_it_all(centre: Centre) -> None:
    hold(centre, 2, ("toronto", "amsterdam"))
    assert _retire(centre, "toronto") == "retired"


def test_a_copy_with_a_tombstone_takes_nobodys_place(centre: Centre) -> None:
    [shard] = hold(centre, 1, ("toronto", "amsterdam"))
    with centre.store.write() as session:
        now = centre.store.now(session)
        session.add(
            Tombstone(
                shard_id=shard,
                site_id="amsterdam",
                reason="surplus",
                waits="waits",
                made_at=now,
                drop_after=now,
            )
        )
    assert "of 1 shard as there must be" in _retire(centre, "toronto")


def test_an_unread_copy_of_a_judged_site_takes_nobodys_place(centre: Centre) -> None:
    hold(centre, 1, ("toronto", "amsterdam"))
    with centre.store.write() as session:
        began = centre.store.now(session) + timedelta(seconds=1)
        session.add(
            Incident(
                site_id="amsterdam", kind="judged", reason="rot", began_at=began, stage="reading"
            )
        )
    assert "of 1 shard as there must be" in _retire(centre, "toronto")


def test_a_gateway_does_not_take_the_place_of_what_it_fronts(centre: Centre) -> None:
    hold(centre, 1, ("toronto", "amsterdam"))
    with centre.store.write() as session:
        session.get_one(Site, "amsterdam").fronts = ["toronto"]
    assert "of 1 shard as there must be" in _retire(centre, "toronto")


def _fronts(centre: Centre, gateway: str, *sites: str) -> None:
    with centre.store.write() as session:
        session.get_one(Site, gateway).fronts = list(sites)


def _add(centre: Centre, **values: object) -> None:
    with centre.store.write() as session:
        session.add(Site(kind="archive", driver="posix", **values))


def _is_retired(centre: Centre, site: str) -> bool:
    with centre.store.read() as session:
        return session.get_one(Site, site).retired


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
    _apply(centre, "toronto", retired=True)
    centre.work()
    assert states(centre.store, "netcup") == {shard: "available"}
    centre.store.clock.advance(600)  # type: ignore[attr-defined]
    centre.work()
    assert _is_retired(centre, "toronto")
    centre.store.clock.advance(86_400)  # type: ignore[attr-defined]
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
    _silent(centre, "netcup")
    assert _retire(centre, "toronto") == "retired"


def test_two_gateways_to_a_site_that_is_silent_take_one_place(centre: Centre) -> None:
    hold(centre, 1, ("toronto", "amsterdam", "netcup"), copies=2, least=2)
    _add(centre, id="archive", silent=True)
    _fronts(centre, "amsterdam", "archive")
    _fronts(centre, "netcup", "archive")
    assert "of 1 shard as there must be" in _retire(centre, "toronto")
    _, [reason] = _waits(centre, "toronto")
    assert reason.startswith("held 1: 1 of 2 good copies")


def test_of_gateways_in_a_chain_the_one_that_the_other_fronts_takes_their_place(
    centre: Centre,
) -> None:
    hold(centre, 1, ("toronto", "amsterdam", "netcup"))
    _add(centre, id="archive", silent=True)
    _fronts(centre, "amsterdam", "netcup")
    _fronts(centre, "netcup", "archive")
    assert _retire(centre, "toronto") == "retired"


def test_a_gateway_that_goes_with_a_retired_site_takes_the_place_of_no_other_gateway(
    centre: Centre,
) -> None:
    hold(centre, 1, ("toronto", "amsterdam", "netcup"))
    _add(centre, id="archive", silent=True)
    _add(centre, id="vault", retired=True)
    _fronts(centre, "amsterdam", "archive", "vault")
    _fronts(centre, "netcup", "archive")
    assert _retire(centre, "toronto") == "retired"


def test_a_gateway_takes_the_place_of_what_it_fronts_while_that_is_judged(centre: Centre) -> None:
    hold(centre, 1, ("toronto", "amsterdam", "netcup"))
    _fronts(centre, "amsterdam", "netcup")
    with centre.store.write() as session:
        began = centre.store.now(session) + timedelta(seconds=1)
        session.add(
            Incident(site_id="netcup", kind="judged", reason="rot", began_at=began, stage="reading")
        )
    assert _retire(centre, "toronto") == "retired"


def test_a_gateway_goes_at_once_when_what_it_fronts_has_all_of_it(centre: Centre) -> None:
    hold(centre, 1, ("toronto", "amsterdam"))
    _fronts(centre, "amsterdam", "toronto")
    assert "amsterdam: retired" in _apply(centre, "amsterdam", fronts=["toronto"], retired=True)


def test_one_of_two_gateways_to_a_site_goes_while_the_site_stays(centre: Centre) -> None:
    hold(centre, 1, ("toronto", "amsterdam", "netcup"))
    _fronts(centre, "amsterdam", "toronto")
    _fronts(centre, "netcup", "toronto")
    assert "amsterdam: retired" in _apply(centre, "amsterdam", fronts=["toronto"], retired=True)


def test_a_lost_gateway_takes_nothing_along_that_lies_behind_it(centre: Centre) -> None:
    hold(centre, 1, ("toronto", "amsterdam"), copies=3, least=3)
    _fronts(centre, "amsterdam", "toronto")
    lines = _apply(centre, "amsterdam", fronts=["toronto"], retired="lost")
    assert "amsterdam: retired as lost; others have all that it held" in lines


def test_a_lost_site_takes_along_what_else_only_a_gateway_to_a_retired_site_has(
    centre: Centre,
) -> None:
    hold(centre, 1, ("toronto", "amsterdam"))
    _fronts(centre, "amsterdam", "netcup")
    _apply(centre, "netcup", retired=True)
    lines = _apply(centre, "toronto", retired="lost")
    assert any("retired as lost, with 1 shard of held that no other site" in one for one in lines)


def test_why_says_what_a_gateway_waits_for_but_not_that_what_it_fronts_goes_with_it(
    centre: Centre,
) -> None:
    hold(centre, 1, ("toronto", "amsterdam"), copies=3, least=2)
    _fronts(centre, "amsterdam", "toronto")
    _apply(centre, "amsterdam", fronts=["toronto"], retired=True)
    _, [reason] = _waits(centre, "amsterdam")
    assert reason == "held 1: 1 of 2 good copies"


def test_a_gateway_takes_nobodys_place_while_a_site_that_it_fronts_goes(centre: Centre) -> None:
    hold(centre, 1, ("toronto", "amsterdam"))
    _fronts(centre, "amsterdam", "netcup")
    _apply(centre, "netcup", retired=True)
    assert "of 1 shard as there must be" in _retire(centre, "toronto")
    _, [reason] = _waits(centre, "toronto")
    assert "amsterdam fronts netcup, which was retired or is to be" in reason


def test_a_shard_that_only_a_gateway_to_a_retired_site_is_left_with_is_copied_at_once(
    centre: Centre,
) -> None:
    [shard] = hold(centre, 1, ("toronto", "amsterdam"), copies=1)
    _fronts(centre, "amsterdam", "toronto")
    _apply(centre, "toronto", retired="lost")
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
    _apply(centre, "netcup", retired=True)
    _silent(centre, "amsterdam")
    head, _ = _waits(centre, "amsterdam")
    assert head.state == "silent"
    assert "it fronts netcup, which was retired or is to be" in head.reason
    assert "it answers no wake-up" in head.reason
    _apply(centre, "amsterdam", fronts=["netcup"], retired=True)
    head, _ = _waits(centre, "amsterdam")
    assert (head.state, head.reason) == ("retired", "node")


def test_a_gateway_and_what_it_fronts_take_one_place_elsewhere(centre: Centre) -> None:
    hold(centre, 1, ("toronto", "amsterdam", "netcup"), copies=3, least=2)
    with centre.store.write() as session:
        session.get_one(Site, "amsterdam").fronts = ["netcup"]
    assert "of 1 shard as there must be" in _retire(centre, "toronto")
    with centre.store.write() as session:
        session.get_one(Site, "amsterdam").fronts = []
    assert _retire(centre, "toronto") == "retired"


def test_sites_that_go_together_each_take_their_shards_in_the_order_all_keep(
    rival: Centre,
) -> None:
    """The file names them in one order, another unit of work takes the shards in the other."""
    first, second = sorted(hold(rival, 2, ("toronto", "amsterdam", "netcup")))
    with rival.store.write() as session:
        for site, shard in (("toronto", first), ("amsterdam", second)):
            copy = (col(Replica.site_id) == site) & (col(Replica.shard_id) == shard)
            session.exec(delete(Replica).where(copy))
    with ThreadPoolExecutor(1) as pool:
        with rival.store.write() as session:
            holdings.lock(session, Shard, first)
            done = pool.submit(rival.apply_sites, "toronto", "amsterdam", retired=True)
            until_blocked(rival.store)
            holdings.lock(session, Shard, second)
        done.result()
    assert states(rival.store, "toronto") == {second: "retired"}
    assert states(rival.store, "amsterdam") == {first: "retired"}


@pytest.fixture
def rival(postgres_store: Store, tmp_path: Path) -> Centre:
    """A centre in whose store several units of work are under way at the same time."""
    centre = Centre(postgres_store, tmp_path)
    centre.apply_sites("toronto", "amsterdam", "netcup")
    return centre


def _retiring(centre: Centre, site: str) -> None:
    with centre.store.write() as session:
        session.get_one(Site, site).retiring = centre.store.now(session)


def test_a_site_that_is_kept_after_all_is_not_retired_by_a_unit_under_way(rival: Centre) -> None:
    [shard] = hold(rival, 1, ("toronto", "amsterdam"))
    _retiring(rival, "toronto")
    with ThreadPoolExecutor(1) as pool:
        with rival.store.write() as session:
            holdings.lock(session, Shard, shard)
            retired = pool.submit(retirement.look_at, rival.store, "toronto")
            until_blocked(rival.store)
            assert "toronto: is not retired after all" in _apply(rival, "toronto")
        assert not retired.result()
    assert not _is_retired(rival, "toronto")
    assert states(rival.store, "toronto") == {shard: "available"}


def test_a_site_that_is_kept_after_all_is_not_looked_at_again(rival: Centre) -> None:
    hold(rival, 1, ("toronto",))
    _retiring(rival, "toronto")
    with ThreadPoolExecutor(1) as pool:
        with rival.store.write() as session:
            session.get_one(Site, "toronto").retiring = None
            session.flush()
            retired = pool.submit(retirement.look_at, rival.store, "toronto")
            until_blocked(rival.store)
        assert not retired.result()
    with rival.store.read() as session:
        assert session.get_one(Site, "toronto").retiring is None


def test_a_site_is_not_lost_that_is_kept_after_all(rival: Centre) -> None:
    [shard] = hold(rival, 1, ("toronto",))
    _retiring(rival, "toronto")
    with ThreadPoolExecutor(1) as pool:
        with rival.store.write() as session:
            holdings.lock(session, Shard, shard)
            said = pool.submit(retirement.lose, rival.store, "toronto")
            until_blocked(rival.store)
            _apply(rival, "toronto")
        assert said.result() == "is to stay, as was said meanwhile"
    assert states(rival.store, "toronto") == {shard: "available"}


def test_a_site_that_is_kept_after_all_is_not_said_to_wait(rival: Centre) -> None:
    [shard] = hold(rival, 1, ("toronto", "amsterdam"))
    with ThreadPoolExecutor(1) as pool:
        with rival.store.write() as session:
            holdings.lock(session, Shard, shard)
            said = pool.submit(_apply, rival, "toronto", retired=True)
            until_blocked(rival.store)
            _apply(rival, "toronto")
        assert said.result() == [
            "toronto: retired changed",
            "toronto: is to stay, as was said meanwhile",
        ]


def test_a_copy_that_is_lost_while_a_site_is_being_retired_keeps_it(rival: Centre) -> None:
    [shard] = hold(rival, 1, ("toronto", "amsterdam"))
    _retiring(rival, "toronto")
    with ThreadPoolExecutor(1) as pool:
        with rival.store.write() as session:
            replicas.lose(session, shard, "amsterdam", (), "gone", rival.store.now(session))
            retired = pool.submit(retirement.look_at, rival.store, "toronto")
            until_blocked(rival.store)
        assert not retired.result()
    assert states(rival.store, "toronto") == {shard: "available"}


def test_a_copy_given_to_a_site_while_that_was_retired_is_made_elsewhere(rival: Centre) -> None:
    [shard] = hold(rival, 1, ("amsterdam",), copies=2)
    with rival.store.write() as session:
        session.get_one(Site, "netcup").silent = True
        session.get_one(Shard, shard).dirty = True
    with ThreadPoolExecutor(1) as pool:
        with rival.store.write() as session:
            toronto = holdings.lock(session, Site, "toronto")
            placed = pool.submit(placements.step, rival.store, rival.settings)
            until_blocked(rival.store)
            toronto.retired = True
        placed.result()
    assert states(rival.store, "toronto") == {shard: "pending"}
    _silent(rival, "netcup", silent=False)
    rival.tick()
    rival.work()
    assert states(rival.store, "toronto") == {shard: "retired"}
    assert states(rival.store, "netcup") == {shard: "available"}
    [given] = rival.transfers(target_id="toronto")
    assert (given.state, given.reason) == ("cancelled", "toronto was retired")


def test_a_retired_site_is_left_neither_work_nor_copies(centre: Centre) -> None:
    [shard] = hold(centre, 1, ("amsterdam", "toronto"), copies=2)
    with centre.store.write() as session:
        now = centre.store.now(session)
        replicas.want_verify(session, shard, "toronto", "doubt", now)
        session.get_one(Site, "toronto").retired = True
    centre.tick()
    centre.work()
    assert states(centre.store, "toronto") == {shard: "retired"}
    assert states(centre.store, "netcup") == {shard: "available"}
    assert [one.state for one in centre.transfers(target_id="toronto")] == ["cancelled"]


@pytest.mark.parametrize("retired", [True, "lost"])
def test_a_site_that_a_deadlock_keeps_is_tried_once_more(rival: Centre, retired: object) -> None:
    [shard] = hold(rival, 1, ("toronto", "netcup"))
    with rival.store.write() as session:
        replicas.want_verify(session, shard, "toronto", "asked", rival.store.now(session))
    [reading] = rival.transfers(kind="verify")
    with ThreadPoolExecutor(1) as pool:
        with rival.store.write() as session:
            session.execute(text("SET LOCAL deadlock_timeout = '1min'"))  # the other is the victim
            holdings.lock(session, Shard, shard)
            said = pool.submit(_apply, rival, "toronto", retired=retired)
            until_blocked(rival.store)
            transfers.lock(session, reading.id)
        [_, line] = said.result()
    assert line.startswith("toronto: retired")
    assert _is_retired(rival, "toronto")


def test_a_lost_site_that_cannot_be_retired_is_told_of_and_the_others_go(
    sqlite_centre: Centre,
) -> None:
    hold(sqlite_centre, 1, ("toronto", "netcup"))
    with (
        refusing(sqlite_centre.store, "toronto"),
        pytest.raises(UndoneError, match=r"^toronto could not .* again: this site is") as undone,
    ):
        _apply(sqlite_centre, "toronto", "amsterdam", retired="lost")
    assert "amsterdam: retired as lost; others have all that it held" in undone.value.done
    [_, line] = _apply(sqlite_centre, "toronto", retired="lost")
    assert line == "toronto: retired as lost; others have all that it held"


def test_the_scheduler_goes_on_with_a_site_that_could_not_be_retired(
    sqlite_centre: Centre,
) -> None:
    hold(sqlite_centre, 1, ("toronto", "netcup"))
    with refusing(sqlite_centre.store, "toronto"):
        [_, line] = _apply(sqlite_centre, "toronto", retired=True)
    assert line.endswith("not be retired yet, the scheduler tries again: this site is refused")
    sqlite_centre.tick()
    assert _is_retired(sqlite_centre, "toronto")


def test_a_site_that_cannot_be_retired_holds_back_nothing_after_it(sqlite_centre: Centre) -> None:
    hold(sqlite_centre, 1, ("toronto", "netcup"))
    for site in ("toronto", "amsterdam"):
        _retiring(sqlite_centre, site)
    with refusing(sqlite_centre.store, "toronto"):
        assert retirement.step(sqlite_centre.store)
        assert _is_retired(sqlite_centre, "amsterdam")
        assert not retirement.step(sqlite_centre.store)
    assert not _is_retired(sqlite_centre, "toronto")
    assert retirement.step(sqlite_centre.store)
    assert _is_retired(sqlite_centre, "toronto")


def test_what_cannot_be_taken_from_a_retired_site_holds_back_no_other_work(
    sqlite_centre: Centre,
) -> None:
    [shard] = hold(sqlite_centre, 1, ("toronto", "amsterdam"))
    with sqlite_centre.store.write() as session:
        now = sqlite_centre.store.now(session)
        for site in ("toronto", "amsterdam"):
            replicas.want_verify(session, shard, site, "doubt", now)
        session.get_one(Site, "toronto").retired = True
    with refusing(sqlite_centre.store, "toronto"):
        sqlite_centre.dispatch()
    assert {one.target_id: one.state for one in sqlite_centre.transfers(kind="verify")} == {
        "toronto": "waiting",
        "amsterdam": "announced",
    }
    sqlite_centre.dispatch()
    assert [one.state for one in sqlite_centre.transfers(target_id="toronto")] == ["cancelled"]


def test_sites_that_go_together_do_not_take_each_others_place(centre: Centre) -> None:
    hold(centre, 1, ("toronto", "amsterdam"))
    centre.apply_sites("toronto", "amsterdam", retired=True)
    with centre.store.read() as session:
        rows = {one.id: one for one in session.exec(select(Site)).all()}
    assert not any(rows[site].retired for site in ("toronto", "amsterdam"))
    centre.work()
    centre.store.clock.advance(600)  # type: ignore[attr-defined]
    centre.work()
    assert set(states(centre.store, "netcup").values()) == {"available"}
    assert set(states(centre.store, "toronto").values()) == {"retired"}
    assert set(states(centre.store, "amsterdam").values()) == {"retired"}


def test_a_site_with_the_last_copies_of_an_expired_rule_goes_once_others_have_them(
    centre: Centre,
) -> None:
    hold(centre, 2, ("toronto", "amsterdam"), copies=2, least=2)
    with centre.store.write() as session:
        session.exec(update(Rule).values(expires=centre.store.now(session)))
    centre.work()
    assert states(centre.store, "netcup") == {}
    centre.apply_sites("toronto", retired=True)
    centre.work()
    assert set(states(centre.store, "netcup").values()) == {"available"}
    centre.store.clock.advance(600)  # type: ignore[attr-defined]
    centre.work()
    with centre.store.read() as session:
        assert session.get_one(Site, "toronto").retired
    assert set(states(centre.store, "amsterdam").values()) == {"available"}
    centre.work()
    assert len(centre.transfers(kind="copy")) == 2


def _waits(centre: Centre, site: str) -> tuple[Cause, list[str]]:
    """What `fleet why` says of a site, and why it is needed for each shard."""
    with centre.store.read() as session:
        found = why.explain(session, site, centre.store.now(session)).causes
    return found[0], [one.reason for one in found if one.state == "needed"]


def _silent(centre: Centre, *names: str, silent: bool = True) -> None:
    with centre.store.write() as session:
        for name in names:
            session.get_one(Site, name).silent = silent


def test_a_dead_site_is_to_be_retired_until_a_person_says_that_it_is_lost(centre: Centre) -> None:
    centre.settings = centre.settings.model_copy(update={"fixity_days": 3650})
    only, both = sorted(hold(centre, 2, ("toronto", "amsterdam")))
    with centre.store.write() as session:
        copy = (col(Replica.site_id) == "amsterdam") & (col(Replica.shard_id) == only)
        session.exec(delete(Replica).where(copy))
    _silent(centre, "toronto")
    lines = _apply(centre, "toronto", retired=True)
    head, needed = _waits(centre, "toronto")
    assert head.state == "retiring"
    assert "it answers no wake-up" in head.reason
    assert head.reason.endswith(
        "say `retired: lost` in the sites file and apply it, and 1 shard that no other site has "
        "will be lost with it"
    )
    assert any("copies of 1 shard as there must be" in line for line in lines)
    assert ["no other site has it, and it is lost with toronto" in one for one in needed] == [True]
    centre.store.clock.advance(86_400)  # type: ignore[attr-defined]
    centre.tick()
    assert states(centre.store, "toronto")[only] == "available"

    lines = _apply(centre, "toronto", retired="lost")
    assert any("retired as lost, with 1 shard of held that no other site" in one for one in lines)
    with centre.store.read() as session:
        assert session.get_one(Site, "toronto").retired
        rows = session.exec(select(Replica).where(Replica.site_id == "toronto")).all()
    assert {one.reason for one in rows} == {"toronto was lost 2026-03-02"}
    assert _apply(centre, "toronto", retired="lost") == []
    assert states(centre.store, "amsterdam")[both] == "available"


def test_a_site_whose_copies_others_have_too_few_of_is_not_said_to_take_any_along(
    centre: Centre,
) -> None:
    hold(centre, 1, ("toronto", "amsterdam"), copies=3, least=3)
    [_, said] = _apply(centre, "toronto", retired=True)
    assert said.endswith(
        "if it is gone for good, say `retired: lost` in the sites file and apply it"
    )


def test_a_lost_site_whose_copies_others_have_takes_nothing_along(centre: Centre) -> None:
    hold(centre, 1, ("toronto", "amsterdam"), copies=3, least=3)
    lines = _apply(centre, "toronto", retired="lost")
    assert "toronto: retired as lost; others have all that it held" in lines


def test_why_tells_what_a_site_that_is_to_be_retired_waits_for(centre: Centre) -> None:
    hold(centre, 1, ("toronto", "amsterdam", "netcup"), copies=3, least=3)
    _silent(centre, "netcup")
    _apply(centre, "toronto", retired=True)
    centre.tick()
    _, [reason] = _waits(centre, "toronto")
    assert reason.startswith("held 1: 1 of 3 good copies; ")
    assert "2 of 3 copies can be placed: " in reason
    assert "toronto is to be retired; other sites or another rule can change that" in reason
    assert "netcup has it and answers no wake-up" in reason


def test_why_tells_of_the_copies_that_a_site_to_be_retired_waits_for(centre: Centre) -> None:
    [shard] = hold(centre, 1, ("toronto",))
    _apply(centre, "toronto", retired=True)
    centre.tick()
    [copy, *_] = centre.transfers(kind="copy", shard_id=shard)
    _, [reason] = _waits(centre, "toronto")
    assert f"transfer {copy.id} to {copy.target_id} is announced" in reason
