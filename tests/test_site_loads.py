"""What the triggers note of a site's load is what counting everything anew would give."""

from pathlib import Path

import pytest
from sqlalchemy import insert
from sqlmodel import Session, col, select

from fleet.control import mirror
from fleet.control.rules import RuleSpec
from fleet.planning.ingest import UNKNOWN_BYTES
from fleet.store import loads
from fleet.store.database import Store
from fleet.store.loads import Load
from fleet.store.tables import Artifact, Replica, Shard, SiteLoad, Transfer, Version
from fleet.store.transfers import LIVE
from tests.centre_support import Centre

FILES = tuple(f"{number}.csv" for number in range(40))


def _counted(session: Session) -> dict[str, Load]:
    """Count everything anew."""
    held: dict[str, int] = {}
    queued: dict[str, int] = {}
    for replica, shard in session.exec(
        select(Replica, Shard).join(Shard, col(Shard.id) == col(Replica.shard_id))
    ):
        if replica.state not in ("bad", "missing", "retired"):
            held[replica.site_id] = held.get(replica.site_id, 0) + shard.size
    for artifact, transfer in session.exec(
        select(Artifact, Transfer).join(Transfer, col(Transfer.id) == col(Artifact.ingest_id))
    ):
        if artifact.shard_id is None and artifact.state != "excluded":
            size = UNKNOWN_BYTES if artifact.size is None else artifact.size
            held[transfer.target_id] = held.get(transfer.target_id, 0) + size
    for transfer in session.exec(select(Transfer)):
        if transfer.state in LIVE:
            queued[transfer.executor_id] = queued.get(transfer.executor_id, 0) + transfer.size
    sites = held.keys() | queued.keys()
    return {site: Load(held.get(site, 0), queued.get(site, 0)) for site in sites}


def _agree(store: Store) -> None:
    with store.read() as session:
        noted, counted = loads.loads(session), _counted(session)
    assert {site: load for site, load in noted.items() if load != Load()} == {
        site: load for site, load in counted.items() if load != Load()
    }


def test_the_loads_of_sites_are_right_at_every_step_of_a_story(centre: Centre) -> None:
    centre.mirror(*FILES, rule=RuleSpec(copies=2))
    for _ in range(4):
        centre.tick()
        _agree(centre.store)
        for order in centre.orders():
            if order.site == "netcup":
                centre.report(order, items=(), reason="the worker failed")
            else:
                centre.report(order)
            _agree(centre.store)
        centre.advance(60)
    centre.apply_sites("amsterdam", retired=True)
    _agree(centre.store)
    centre.work()
    _agree(centre.store)
    with centre.store.write() as session:
        for replica in session.exec(select(Replica).where(Replica.site_id == "toronto")):
            replica.state = "missing"
        session.delete(session.exec(select(Replica)).first())
    _agree(centre.store)


def test_adding_up_changes_no_sum(centre: Centre) -> None:
    centre.mirror(*FILES)
    centre.work()
    with centre.store.read() as session:
        before = loads.loads(session)
    with centre.store.write() as session:
        loads.fold(session)
    with centre.store.read() as session:
        assert loads.loads(session) == before
        assert len(session.exec(select(SiteLoad)).all()) == 3


def test_of_very_many_notes_some_are_added_up_at_a_time(store: Store) -> None:
    noted = 20_500
    with store.write() as session:
        rows = [{"site_id": "toronto", "held": 1, "queued": 0}] * noted
        session.connection().execute(insert(SiteLoad), rows)
    with store.write() as session:
        loads.fold(session)
    with store.read() as session:
        assert loads.loads(session) == {"toronto": Load(held=noted)}
        assert len(session.exec(select(SiteLoad.id)).all()) == 501


def test_what_is_noted_while_others_add_up_is_not_lost(postgres_store: Store) -> None:
    store = postgres_store
    with store.write() as session:
        session.add(SiteLoad(site_id="toronto", held=1))
    with store.write() as noting:
        noting.add(SiteLoad(site_id="toronto", held=2))
        noting.flush()
        with store.write() as session:
            loads.fold(session)
    with store.read() as session:
        assert loads.loads(session) == {"toronto": Load(held=3)}


@pytest.mark.parametrize("files", [1, 30])
def test_a_site_is_not_promised_to_two_versions_at_once(
    centre: Centre, tmp_path: Path, files: int
) -> None:
    centre.apply_sites("toronto", capacity=1000)
    rule = RuleSpec(selector="id=toronto")
    versions = []
    for name in ("first", "second"):
        folder = tmp_path / name
        folder.mkdir()
        for number in range(files):
            (folder / f"{number}.bin").write_bytes(b"x" * (600 // files))
        versions.append(
            mirror.mirror_dataset(centre.store, str(folder), rule, dataset=name).version
        )
    centre.tick()
    with centre.store.read() as session:
        promised = session.exec(select(Transfer.size).where(Transfer.kind == "ingest")).all()
        reasons = [session.get_one(Version, version).reason for version in versions]
    assert sum(promised) <= 1000
    assert any("bytes free" in reason for reason in reasons) or files > 1
