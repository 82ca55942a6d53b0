"""When a site is to go: which copies elsewhere take the place of its own."""

from datetime import timedelta

from sqlalchemy import update
from sqlmodel import col, delete, select

from fleet.store.tables import Incident, Replica, Rule, Site, Tombstone
from tests.centre_support import Centre
from tests.holdings_support import hold, states
from tests.retirement_support import apply, retire, silence, waits


def test_a_site_goes_at_once_when_another_holds_it_all(centre: Centre) -> None:
    hold(centre, 2, ("toronto", "amsterdam"))
    assert retire(centre, "toronto") == "retired"


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
    assert "of 1 shard as there must be" in retire(centre, "toronto")


def test_an_unread_copy_of_a_judged_site_takes_nobodys_place(centre: Centre) -> None:
    hold(centre, 1, ("toronto", "amsterdam"))
    with centre.store.write() as session:
        began = centre.store.now(session) + timedelta(seconds=1)
        session.add(
            Incident(
                site_id="amsterdam", kind="judged", reason="rot", began_at=began, stage="reading"
            )
        )
    assert "of 1 shard as there must be" in retire(centre, "toronto")


def test_sites_that_go_together_do_not_take_each_others_place(centre: Centre) -> None:
    hold(centre, 1, ("toronto", "amsterdam"))
    centre.apply_sites("toronto", "amsterdam", retired=True)
    with centre.store.read() as session:
        rows = {one.id: one for one in session.exec(select(Site)).all()}
    assert not any(rows[site].retired for site in ("toronto", "amsterdam"))
    centre.work()
    centre.advance(600)
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
    centre.advance(600)
    centre.work()
    with centre.store.read() as session:
        assert session.get_one(Site, "toronto").retired
    assert set(states(centre.store, "amsterdam").values()) == {"available"}
    centre.work()
    assert len(centre.transfers(kind="copy")) == 2


def test_a_dead_site_is_to_be_retired_until_a_person_says_that_it_is_lost(centre: Centre) -> None:
    centre.settings = centre.settings.model_copy(update={"fixity_days": 3650})
    only, both = sorted(hold(centre, 2, ("toronto", "amsterdam")))
    with centre.store.write() as session:
        copy = (col(Replica.site_id) == "amsterdam") & (col(Replica.shard_id) == only)
        session.exec(delete(Replica).where(copy))
    silence(centre, "toronto")
    lines = apply(centre, "toronto", retired=True)
    head, needed = waits(centre, "toronto")
    assert head.state == "retiring"
    assert "it answers no wake-up" in head.reason
    assert head.reason.endswith(
        "say `retired: lost` in the sites file and apply it, and 1 shard that no other site has "
        "will be lost with it"
    )
    assert any("copies of 1 shard as there must be" in line for line in lines)
    assert ["no other site has it, and it is lost with toronto" in one for one in needed] == [True]
    centre.advance(86_400)
    centre.tick()
    assert states(centre.store, "toronto")[only] == "available"

    lines = apply(centre, "toronto", retired="lost")
    assert any("retired as lost, with 1 shard of held that no other site" in one for one in lines)
    with centre.store.read() as session:
        assert session.get_one(Site, "toronto").retired
        rows = session.exec(select(Replica).where(Replica.site_id == "toronto")).all()
    assert {one.reason for one in rows} == {"toronto was lost 2026-03-02"}
    assert apply(centre, "toronto", retired="lost") == []
    assert states(centre.store, "amsterdam")[both] == "available"


def test_a_site_whose_copies_others_have_too_few_of_is_not_said_to_take_any_along(
    centre: Centre,
) -> None:
    hold(centre, 1, ("toronto", "amsterdam"), copies=3, least=3)
    [_, said] = apply(centre, "toronto", retired=True)
    assert said.endswith(
        "if it is gone for good, say `retired: lost` in the sites file and apply it"
    )


def test_a_lost_site_whose_copies_others_have_takes_nothing_along(centre: Centre) -> None:
    hold(centre, 1, ("toronto", "amsterdam"), copies=3, least=3)
    lines = apply(centre, "toronto", retired="lost")
    assert "toronto: retired as lost; others have all that it held" in lines


def test_why_tells_what_a_site_that_is_to_be_retired_waits_for(centre: Centre) -> None:
    hold(centre, 1, ("toronto", "amsterdam", "netcup"), copies=3, least=3)
    silence(centre, "netcup")
    apply(centre, "toronto", retired=True)
    centre.tick()
    _, [reason] = waits(centre, "toronto")
    assert reason.startswith("held 1: 1 of 3 good copies; ")
    assert "2 of 3 copies can be placed: " in reason
    assert "toronto is to be retired; other sites or another rule can change that" in reason
    assert "netcup has it and answers no wake-up" in reason


def test_why_tells_of_the_copies_that_a_site_to_be_retired_waits_for(centre: Centre) -> None:
    [shard] = hold(centre, 1, ("toronto",))
    apply(centre, "toronto", retired=True)
    centre.tick()
    [copy, *_] = centre.transfers(kind="copy", shard_id=shard)
    _, [reason] = waits(centre, "toronto")
    assert f"transfer {copy.id} to {copy.target_id} is announced" in reason
