"""Editions of the catalogue among the datasets: mirrored like them, and let go of."""

import os
from contextlib import suppress
from datetime import timedelta

import pytest
from sqlmodel import col, select, update

from fleet.catalogue.client import Fetcher, Home, Mirror, Trust, sync
from fleet.catalogue.signing import copies
from fleet.control import issues, publications, rules, why
from fleet.control.errors import NotFoundError, RefusedError
from fleet.control.mirror import mirror_dataset
from fleet.control.rules import RuleSpec
from fleet.control.snapshot import Snapshot
from fleet.importers import DraftArtifact
from fleet.messages import Order
from fleet.planning.press import DATASET
from fleet.store import retiring
from fleet.store.tables import (
    Artifact,
    Dataset,
    DatasetAlias,
    Placement,
    Press,
    Replica,
    Rule,
    Shard,
    Site,
    Tombstone,
    Transfer,
    Version,
)
from tests.api_support import served
from tests.centre_support import Centre
from tests.fault_server import FaultServer
from tests.press_support import Printer
from tests.redirect_support import until
from tests.signing_support import LOOPBACK


@pytest.fixture
def printer(sqlite_centre: Centre) -> Printer:
    made = Printer(sqlite_centre)
    made.make_keys()
    made.mirror("roads", "a.csv")
    made.settle()
    return made


def change(printer: Printer, number: int) -> None:
    with printer.store.write() as session:
        session.get_one(Dataset, "roads").title = f"Roads {number}"
    printer.settle()


def states(printer: Printer, label: str) -> set[str]:
    with printer.store.read() as session:
        rows = (
            select(Replica.state)
            .join(Shard, col(Shard.id) == col(Replica.shard_id))
            .join(Version, col(Version.id) == col(Shard.version_id))
            .where(Version.dataset_id == DATASET, Version.label == label)
        )
        return set(session.exec(rows).all())


def test_an_edition_is_on_every_node_and_has_its_own_manifest(printer: Printer) -> None:
    [edition] = printer.editions()
    with printer.store.read() as session:
        rows = session.exec(
            select(Replica.site_id, Replica.state)
            .join(Shard, col(Shard.id) == col(Replica.shard_id))
            .where(Shard.version_id == edition.id)
        ).all()
    assert len(rows) == 6
    assert {site for site, _ in rows} == {"amsterdam", "netcup", "toronto"}
    assert {state for _, state in rows} == {"available"}


def test_copies_of_the_last_three_are_kept_and_others_go_a_day_later(printer: Printer) -> None:
    for number in range(2, 6):
        change(printer, number)
    assert [one.label for one in printer.editions()] == ["1", "2", "3", "4", "5"]
    assert [one.unneeded for one in printer.editions()] == [True, True, False, False, False]
    assert states(printer, "1") == states(printer, "2") == {"available"}
    printer.pass_time(26 * 3600, 6 * 3600)
    assert states(printer, "1") == states(printer, "2") == {"retired"}
    assert states(printer, "3") == states(printer, "5") == {"available"}
    with printer.store.read() as session:
        assert session.exec(select(Tombstone)).all() == []
        drops = session.exec(select(Transfer).where(Transfer.kind == "drop")).all()
        assert {one.state for one in drops} == {"done"}
        reasons = session.exec(select(Replica.reason).where(Replica.state == "retired")).all()
        assert all("newer ones have taken its version's place" in one for one in reasons)
        gone = [one.id for one in printer.editions()[:2]]
        placed = select(Placement).join(Shard, col(Shard.id) == col(Placement.shard_id))
        assert session.exec(placed.where(col(Shard.version_id).in_(gone))).all() == []


def test_a_site_is_retired_though_it_holds_old_editions(printer: Printer) -> None:
    for number in range(2, 6):
        change(printer, number)
    with printer.store.write() as session:
        elsewhere = select(Replica).where(Replica.site_id != "toronto")
        for copy in session.exec(elsewhere):
            copy.state = "retired"
    old = {shard for one in printer.editions()[:2] for shard in printer.shards(one.id)}
    with printer.store.read() as session:
        needed = {one.shard for one in retiring.needed(session, "toronto", {}, 100)}
    assert len(old) == 4
    assert needed
    assert not needed & old


def test_an_edition_that_is_under_way_is_followed_by_one_and_not_by_ten(printer: Printer) -> None:
    """The nodes do nothing for two hours, while the catalogue changes every few minutes."""
    with printer.store.write() as session:
        session.get_one(Press, "press").begun = None
    for number in range(12):
        with printer.store.write() as session:
            session.get_one(Dataset, "roads").title = f"Roads {number}"
        for _ in range(4):
            printer.centre.advance(150)
            printer.centre.tick()
            printer.issue()
    assert len(printer.editions()) == 2
    printer.settle()
    first, second, third = printer.editions()
    assert (first.state, second.state, third.state) == ("superseded", "superseded", "published")
    assert int(third.label) > int(second.label) + 5


def test_an_edition_that_gets_nowhere_is_given_up_for_the_next(printer: Printer) -> None:
    with printer.store.write() as session:
        session.get_one(Dataset, "roads").title = "Roads"
    for _ in range(2 * 8):
        printer.centre.advance(1800)
        printer.centre.tick()
        printer.issue()
        with printer.store.write() as session:
            session.get_one(Dataset, "roads").title += "!"
    stuck = printer.editions()[1]
    assert stuck.state == "withdrawn"
    assert "newer edition" in stuck.reason
    with printer.store.read() as session:
        theirs = session.exec(select(Transfer).where(Transfer.version_id == stuck.id)).all()
    assert {one.state for one in theirs} == {"cancelled"}
    printer.settle()
    assert printer.editions()[-1].state == "published"
    Snapshot().refresh(printer.store)


def under_way(centre: Centre) -> Printer:
    """A printer of whose first edition the nodes have brought nothing yet."""
    made = Printer(centre)
    made.make_keys()
    made.mirror("roads", "a.csv")
    while not made.editions():
        centre.advance(60)
        centre.tick()
        made.issue()
    return made


def give_up(printer: Printer) -> Version:
    """Let nobody do anything until a newer edition takes the place of the first."""
    with printer.store.write() as session:
        session.get_one(Dataset, "roads").title = "Roads of Canada"
    for _ in range(5):
        printer.centre.advance(2 * 3600)
        printer.centre.tick()
        printer.issue()
    first = printer.editions()[0]
    assert (first.state, first.unneeded) == ("withdrawn", True)
    return first


def dropped(printer: Printer, version: Version) -> set[str]:
    """The sites that deleted what they had of a version."""
    with printer.store.read() as session:
        drops = select(Transfer.target_id).where(
            Transfer.version_id == version.id, Transfer.kind == "drop", Transfer.state == "done"
        )
        return set(session.exec(drops).all())


def test_what_nodes_brought_of_an_edition_that_is_given_up_goes(centre: Centre) -> None:
    """One node brought what it was to bring; the other's outcome comes once it is too late."""
    printer, orders = under_way(centre), list[Order]()
    centre.tick()
    for attempt, site in centre.announced():
        with suppress(RefusedError):  # it was announced more than once
            orders.append(centre.claim(attempt, site))
    late, *done = (one for one in orders if one.task == "pull")
    assert done
    for order in done:
        centre.report(order)
    first = give_up(printer)
    assert not centre.report(late, items=()).applied
    with printer.store.read() as session:
        theirs = session.exec(select(Transfer).where(Transfer.version_id == first.id)).all()
        assert {one.state for one in theirs} <= {"cancelled", "done", "suspended"}
        files = session.exec(select(Artifact).where(Artifact.version_id == first.id)).all()
    printer.pass_time(26 * 3600, 6 * 3600)
    assert states(printer, first.label) == {"retired"}
    assert dropped(printer, first) >= {one.site for one in (late, *done)}
    assert len({one.shard_id for one in files}) == 1
    Snapshot().refresh(printer.store)


def test_what_was_cut_of_an_edition_that_is_given_up_goes(sqlite_centre: Centre) -> None:
    """Its files all came, and its shards were never sealed."""
    printer, sites = under_way(sqlite_centre), set[str]()
    centre = printer.centre
    for _ in range(6):
        centre.tick()
        for attempt, site in centre.announced():
            with suppress(RefusedError):
                order = centre.claim(attempt, site)
                if order.shard is None:
                    centre.report(order)
                    sites.add(site)
    assert printer.shards(printer.editions()[0].id)
    first = give_up(printer)
    printer.pass_time(26 * 3600, 6 * 3600)
    assert states(printer, first.label) == {"retired"}
    assert dropped(printer, first) >= sites


def test_an_edition_that_was_published_just_before_is_not_given_up(
    printer: Printer, monkeypatch: pytest.MonkeyPatch
) -> None:
    [edition] = printer.editions()
    monkeypatch.setattr(issues, "under_way", lambda _: edition)
    with printer.store.write() as session:
        file = DraftArtifact(path="a", sources=("https://origin.example/a",))
        issues.begin(session, (file,), "2", printer.store.now(session))
    first, _ = printer.editions()
    assert (first.state, first.unneeded) == ("published", False)


def first_cause(printer: Printer) -> str:
    with printer.store.read() as session:
        return why.explain(session, DATASET, printer.store.now(session)).causes[0].reason


def test_what_somebody_mirrored_under_its_name_before_is_told_and_loses_nothing(
    sqlite_centre: Centre,
) -> None:
    """As where a fleet had such a dataset before there were editions; its last one is a draft."""
    printer = Printer(sqlite_centre)
    printer.make_keys()
    for number in range(4):
        printer.mirror("census", f"{number}.csv")
    listing = printer.centre.folder / "list.txt"
    listing.write_text("https://origin.example/last.csv\n")
    mirror_dataset(printer.store, str(listing), dataset="census")
    with printer.store.write() as session:
        session.add(Dataset(id=DATASET, created_at=printer.store.now(session)))
        session.flush()
        session.exec(update(Version).values(dataset_id=DATASET))
        session.exec(update(Rule).values(dataset_id=DATASET))
    printer.settle()
    versions = printer.editions()
    assert [one.sequence for one in versions] == [1, 2, 3, 4, 5]
    assert not any(one.unneeded or one.edition for one in versions)
    assert printer.titles() == [DATASET]
    assert "has versions that are none" in first_cause(printer)
    printer.pass_time(26 * 3600, 6 * 3600)
    with printer.store.read() as session:
        assert set(session.exec(select(Replica.state))) == {"available"}


def test_no_edition_is_made_where_its_name_is_an_old_one_of_another_dataset(
    sqlite_centre: Centre,
) -> None:
    printer = Printer(sqlite_centre)
    printer.make_keys()
    printer.mirror("census", "a.csv")
    with printer.store.write() as session:
        session.add(DatasetAlias(alias=DATASET, dataset_id="census"))
    printer.settle()
    with printer.store.read() as session:
        [version] = session.exec(select(Version)).all()
    assert (version.dataset_id, version.edition, version.unneeded) == ("census", False, False)
    assert "an old name of the dataset 'census'" in first_cause(printer)
    with printer.store.write() as session:
        session.delete(session.get_one(DatasetAlias, DATASET))
    printer.settle()
    assert [one.state for one in printer.editions()] == ["published"]
    assert "no edition is begun" not in first_cause(printer)


def test_no_edition_is_made_beside_a_dataset_called_so_but_for_capitals(
    sqlite_centre: Centre,
) -> None:
    printer = Printer(sqlite_centre)
    printer.make_keys()
    printer.mirror("Catalogue", "a.csv")
    printer.settle()
    assert printer.editions() == []
    assert "the same folder as the dataset 'Catalogue'" in first_cause(printer)


def test_the_dataset_of_the_catalogue_is_nobody_s_to_mirror(printer: Printer) -> None:
    with printer.store.write() as session:
        session.add(DatasetAlias(alias="old", dataset_id=DATASET))
    listing = printer.centre.folder / "list.txt"
    listing.write_text("https://origin.example/a.csv\n")
    for name in (DATASET, "old"):
        with pytest.raises(RefusedError, match="own catalogue"):
            mirror_dataset(printer.store, str(listing), RuleSpec(), dataset=name)


def test_its_editions_get_no_doi(printer: Printer) -> None:
    with pytest.raises(RefusedError, match="no DOI"):
        publications.ask(printer.store, DATASET)
    printer.centre.apply_sites(
        *("zenodo",), kind="repository", driver="zenodo", read_url="", store={}
    )
    rules.change(printer.store, DATASET, RuleSpec(selector="kind=node | id=zenodo"))
    printer.settle()
    with printer.store.read() as session:
        short = select(Placement.reason).where(col(Placement.site_id).is_(None))
        assert "editions of the catalogue get none" in str(session.exec(short).all())


def test_an_admin_changes_its_rule_as_of_any_dataset(printer: Printer) -> None:
    with pytest.raises(NotFoundError, match="no dataset 'nothing'"):
        rules.change(printer.store, "nothing", RuleSpec())
    assert rules.change(printer.store, DATASET, RuleSpec(selector="id=toronto")) == DATASET
    printer.centre.work()
    with printer.store.read() as session:
        marked = session.exec(select(Tombstone.site_id)).all()
    assert set(marked) == {"amsterdam", "netcup"}


def test_what_the_centre_keeps_of_editions_goes_once_sites_have_it(printer: Printer) -> None:
    folder = printer.centre.settings.home / "bundles"
    assert len(list(folder.iterdir())) > 5
    for path in folder.iterdir():  # whose times are this machine's, not the test's
        os.utime(path, (0, 0))
    printer.pass_time(3 * 86400, 12 * 3600)
    assert list(folder.iterdir()) == []
    with printer.store.read() as session:
        assert not [one for one in session.exec(select(Artifact)) if "centre:" in str(one.origins)]


def test_it_is_told_how_far_the_catalogue_is(printer: Printer) -> None:
    with printer.store.read() as session:
        now = printer.store.now(session)
        first, second, *_ = why.explain(session, DATASET, now).causes
    assert (first.thing, first.state) == (DATASET, "signed")
    assert first.since is not None
    assert now - first.since < timedelta(days=1)
    assert second.thing == "catalogue 1"


def test_the_redirector_leads_clients_to_a_copy(printer: Printer, server: FaultServer) -> None:
    for site in ("toronto", "amsterdam", "netcup"):
        with printer.store.write() as session:
            session.get_one(Site, site).read_url = server.url("").rstrip("/")
    printer.settle()
    printer.centre.prove()
    edition = printer.editions()[-1]
    with copies.copied(printer.place) as copy:
        for name, path in copy.files.items():
            server.serve(f"{DATASET}/{edition.label}/{name}", path.read_bytes())
    with printer.store.read() as session:
        now = printer.store.now(session)
    folder = printer.centre.folder
    with served(printer.centre) as api, Fetcher("DataFleet/test", LOOPBACK) as fetcher:
        address = f"{api.url}/d/{DATASET}/latest/"
        until(lambda: api.get(f"/d/{DATASET}/latest/catalogue.json").status_code == 307)
        root = Trust(root=printer.place / "metadata" / "1.root.json")
        synced = sync(Home(folder / "client"), [Mirror.at(address)], root, now, fetcher)
    assert synced.refusals == ()
    tables = {one.name for one in synced.folder.iterdir()}
    assert {"catalogue.parquet", "catalogue.json"} <= tables
