"""When the catalogue is written anew, of which datasets, and that nothing that changed is lost."""

import hashlib
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta

import pyarrow.parquet as pq
import pytest
from sqlalchemy import insert
from sqlalchemy.exc import DBAPIError
from sqlmodel import Session, func, select

from fleet.catalogue.client import Fetcher, Home, Mirror, Trust, sync
from fleet.catalogue.entry import Dataset as Told
from fleet.control import catalogue, issues, replicas
from fleet.control.rules import RuleSpec
from fleet.descriptions import Description
from fleet.settings import CentreSettings
from fleet.store import untold
from fleet.store.database import Store, is_away
from fleet.store.tables import (
    Artifact,
    Dataset,
    DatasetChange,
    Incident,
    Press,
    Publication,
    Replica,
    Shard,
    Site,
    Version,
)
from tests.api_support import served
from tests.centre_support import Centre
from tests.conftest import NOON
from tests.press_support import Printer, read_anew

RULE_TORONTO, RULE_NETCUP = RuleSpec(selector="id=toronto"), RuleSpec(selector="id=netcup")


@pytest.fixture
def printer(centre: Centre) -> Printer:
    return Printer(centre)


@pytest.fixture
def sqlite_printer(sqlite_centre: Centre) -> Printer:
    return Printer(sqlite_centre)


def reason(printer: Printer) -> str:
    with printer.store.read() as session:
        return session.get_one(Press, "press").reason


def test_a_change_waits_for_quiet_and_is_then_told_once(printer: Printer) -> None:
    printer.mirror("roads", "a.csv")
    assert printer.pass_time(50, 10) == 0
    assert not (printer.place / "catalogue.json").exists()
    assert printer.pass_time(40, 10) == 1
    assert printer.titles() == ["roads"]
    assert printer.page("catalogue.json")["id"]
    assert printer.pass_time(500, 10) == 0


def test_changes_without_end_are_told_all_the_same(printer: Printer) -> None:
    printer.mirror("roads", "a.csv")
    issues = 0
    for number in range(40):
        with printer.store.write() as session:
            session.get_one(Dataset, "roads").title = f"Roads {number}"
        issues += printer.pass_time(20, 20)
    assert issues == 1


def test_only_datasets_that_changed_are_read_anew(printer: Printer) -> None:
    for name in ("roads", "rivers", "rails"):
        printer.mirror(name, f"{name}.csv")
    with read_anew() as first:
        printer.settle()
    assert first == ["rails", "rivers", "roads"]
    with printer.store.write() as session:
        session.get_one(Dataset, "rivers").title = "Rivers of Canada"
    with read_anew() as second:
        printer.settle()
    assert second == ["rivers"]
    assert printer.titles() == ["rails", "rivers", "roads"]
    assert printer.page("datasets", "rivers", "collection.json")["title"] == "Rivers of Canada"
    for table in (place / "items.parquet" for place in (printer.place / "datasets").iterdir()):
        [title] = pq.read_table(table, columns=["title"])["title"].to_pylist()
        assert title == ("Rivers of Canada" if table.parent.name == "rivers" else None)


def _describe(session: Session) -> None:
    said = Description.model_validate({"title": {"fr": "Routes"}})
    session.get_one(Dataset, "roads").description = said.model_dump(exclude_defaults=True)


def _version(name: str, value: object) -> Callable[[Session], None]:
    def change(session: Session) -> None:
        row = session.exec(select(Version).where(Version.dataset_id == "roads")).one()
        setattr(row, name, value)

    return change


def _copy(session: Session) -> Replica:
    rows = select(Replica).join(Shard).join(Version).where(Version.dataset_id == "roads")
    return session.exec(rows.where(Replica.site_id == "toronto")).first()  # type: ignore[return-value]


def _lose(session: Session) -> None:
    replicas.doubt(session, _copy(session).shard_id, "toronto", "gone", NOON)


def _sum(session: Session) -> None:
    rows = select(Artifact).join(Version).where(Version.dataset_id == "roads")
    for row in session.exec(rows):
        row.md5 = None
    session.flush()
    for row in session.exec(rows):
        row.md5 = "0" * 32


def _publish(session: Session) -> None:
    version = session.exec(select(Version).where(Version.dataset_id == "roads")).one()
    row = Publication(version_id=version.id, site_id="toronto", created_at=NOON)
    session.add(row)
    session.flush()
    row.state, row.record = "published", "4711"


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(_describe, id="description"),
        pytest.param(_version("doi", "10.5281/zenodo.1"), id="doi"),
        pytest.param(_version("licence", "CC0-1.0"), id="licence"),
        pytest.param(_version("state", "withdrawn"), id="withdrawn"),
        pytest.param(_lose, id="copy in doubt"),
        pytest.param(_sum, id="md5"),
        pytest.param(_publish, id="record"),
    ],
)
def test_what_changes_of_a_dataset_has_it_told_anew_and_no_other(
    printer: Printer, change: Callable[[Session], None]
) -> None:
    printer.mirror("roads", "a.csv")
    printer.mirror("rivers", "b.csv")
    printer.settle()
    assert printer.untold() == []
    with printer.store.write() as session:
        change(session)
    assert printer.untold() == ["roads"]


def test_what_changes_of_a_site_has_all_that_it_holds_told_anew(printer: Printer) -> None:
    printer.make_keys()
    printer.mirror("roads", "a.csv", rule=RULE_TORONTO)
    printer.mirror("rivers", "b.csv", rule=RULE_NETCUP)
    printer.settle()
    assert printer.untold() == []
    with printer.store.write() as session:
        session.get_one(Site, "toronto").read_url = "http://elsewhere.example"
    assert printer.untold() == ["roads"]
    printer.settle()
    with printer.store.write() as session:
        session.get_one(Site, "netcup").country = "DE"
    assert printer.untold() == ["rivers"]
    printer.settle()
    with printer.store.write() as session:
        incident = Incident(site_id="netcup", kind="judged", reason="it rots", began_at=NOON)
        session.add(incident)
    assert "rivers" in printer.untold()


def test_a_new_site_has_all_told_once_something_lies_there(printer: Printer) -> None:
    printer.mirror("roads", "a.csv")
    printer.settle()
    printer.centre.apply_sites("toronto", "amsterdam", "netcup", "virginia")
    printer.settle()
    [row] = printer.table().values()
    assert "virginia" in str(row)


def test_a_copy_that_was_read_again_is_told_within_a_day(printer: Printer) -> None:
    printer.make_keys()
    printer.mirror("roads", "a.csv")
    printer.settle()
    with printer.store.write() as session:
        _copy(session).verified_at = NOON + timedelta(days=3)
    assert printer.untold() == ["roads"]
    assert printer.pass_time(3600, 300) == 0
    with read_anew() as read:
        printer.pass_time(86400, 3600)
    assert read == ["roads"]
    assert printer.untold() == []


def test_what_changes_while_it_is_written_is_told_the_next_time(
    printer: Printer, monkeypatch: pytest.MonkeyPatch
) -> None:
    printer.mirror("roads", "a.csv")
    known, begun = catalogue.dataset, list[str]()

    def changing(session: Session, settings: CentreSettings, name: str) -> Told | None:
        found = known(session, settings, name)
        if not begun:
            begun.append(name)
            with printer.store.write() as other:
                other.get_one(Dataset, "roads").title = "Roads"
        return found

    monkeypatch.setattr(catalogue, "dataset", changing)
    assert printer.pass_time(90) == 1
    assert printer.page("datasets", "roads", "collection.json").get("title") != "Roads"
    assert printer.untold() == ["roads"]
    printer.settle()
    assert printer.page("datasets", "roads", "collection.json")["title"] == "Roads"
    assert printer.untold() == []


def test_pages_that_no_table_can_be_made_of_stop_no_other_dataset(printer: Printer) -> None:
    printer.make_keys()
    printer.mirror("roads", "a.csv")
    printer.mirror("trees", "b.csv")
    printer.settle()
    page = next((printer.place / "datasets" / "roads").glob("versions/*/item.json"))
    page.write_bytes(b"")
    with printer.store.write() as session:
        session.get_one(Dataset, "roads").description = {"titel": "x"}  # which keeps its pages
        session.get_one(Dataset, "trees").title = "Trees"
    assert printer.pass_time(900) == 1
    assert printer.page("datasets", "trees", "collection.json")["title"] == "Trees"
    assert printer.untold() == ["roads"]


def test_editions_are_cited_by_addresses_that_are_there(printer: Printer) -> None:
    printer.make_keys()
    printer.mirror("roads", "a.csv")
    printer.settle()
    with served(printer.centre) as api:
        for address in ("en/datasets/catalogue", "en/datasets/catalogue/versions/1"):
            assert api.get(f"/{address}").status_code == 200
        assert "{catalogue" in api.get("/datasets/catalogue/versions/1/cite.bib").text


def test_a_dataset_that_cannot_be_told_stops_no_other_and_is_tried_again(
    printer: Printer,
) -> None:
    printer.make_keys()
    printer.mirror("roads", "a.csv")
    printer.mirror("bad", "b.csv")
    with printer.store.write() as session:
        session.get_one(Dataset, "bad").description = {"titel": "x"}
    assert printer.pass_time(900) == 1
    assert printer.titles() == ["roads"]
    assert printer.untold() == ["bad"]
    with printer.store.write() as session:
        session.get_one(Dataset, "bad").description = {}
    printer.settle()
    assert printer.titles() == ["bad", "roads"]
    assert printer.untold() == []


def test_a_dataset_whose_statement_fails_stops_no_other(
    printer: Printer, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = catalogue.dataset

    def failing(session: Session, settings: CentreSettings, name: str) -> Told | None:
        if name == "bad":
            session.connection().exec_driver_sql("SELECT nothing")
        return known(session, settings, name)

    monkeypatch.setattr(catalogue, "dataset", failing)
    printer.make_keys()
    printer.mirror("roads", "a.csv")
    printer.mirror("bad", "b.csv")
    assert printer.pass_time(900, 60) == 1
    assert printer.titles() == ["roads"]
    assert printer.untold() == ["bad"]


def test_a_database_that_is_away_is_no_fault_of_a_statement(printer: Printer) -> None:
    with pytest.raises(DBAPIError) as away, Store("postgresql://127.0.0.1:1/x").read() as session:
        session.connection()
    with pytest.raises(DBAPIError) as failed, printer.store.read() as session:
        session.connection().exec_driver_sql("SELECT nothing")
    assert is_away(away.value)
    assert not is_away(failed.value)


@pytest.mark.parametrize("fault", [RuntimeError("torn"), KeyboardInterrupt()])
def test_whatever_goes_wrong_with_an_edition_is_tried_again_after_a_lease(
    sqlite_printer: Printer, monkeypatch: pytest.MonkeyPatch, fault: BaseException
) -> None:
    """A KeyboardInterrupt is like a kill: nobody has a chance to say anything."""
    printer = sqlite_printer

    def failing(*_: object) -> str:
        raise fault

    printer.make_keys()
    printer.mirror("roads", "a.csv")
    with monkeypatch.context() as patch:
        patch.setattr(issues, "begin", failing)
        tried = 0
        for _ in range(60):
            printer.centre.advance(2)
            before = printer.woken()
            printer.centre.tick()
            if printer.woken() > before:
                tried += 1
                with suppress(RuntimeError, KeyboardInterrupt):
                    printer.issue()
    assert 2 <= tried <= 6
    if isinstance(fault, RuntimeError):
        assert reason(printer) == "no edition is begun: RuntimeError, see the consumer's log: torn"
    printer.settle()
    assert [one.state for one in printer.editions()] == ["published"]
    assert reason(printer) == ""


def test_many_notes_are_gathered_some_at_a_time(printer: Printer) -> None:
    with printer.store.write() as session:
        notes = [{"dataset_id": f"d{number % 9}", "proof": False} for number in range(20_001)]
        session.connection().execute(insert(DatasetChange), notes)
    with printer.store.write() as session:
        assert untold.gather(session, printer.store.now(session))
        assert session.exec(select(func.count()).select_from(DatasetChange)).one() == 1
    with printer.store.write() as session:
        session.connection().execute(insert(DatasetChange), notes)
    assert printer.untold() == [f"d{number}" for number in range(9)]
    with printer.store.read() as session:
        assert not untold.noted(session)


def test_without_keys_it_is_written_unsigned_and_says_why(printer: Printer) -> None:
    printer.mirror("roads", "a.csv")
    printer.settle()
    assert printer.titles() == ["roads"]
    assert "not signed" in reason(printer)
    assert "FLEET_CATALOGUE_KEYS_FILE" in reason(printer)
    assert printer.editions() == []
    printer.make_keys()
    printer.settle()
    assert reason(printer) == ""
    assert [one.state for one in printer.editions()] == ["published"]


def test_own_copies_have_nothing_told_anew(printer: Printer) -> None:
    """Two hours after the last change nothing is done any more, though an edition was mirrored."""
    printer.make_keys()
    printer.mirror("roads", "a.csv")
    printer.settle()
    [edition] = printer.editions()
    assert edition.label == "1"
    assert printer.pass_time(3 * 3600, 1200) == 0
    assert printer.untold() == []
    with printer.store.write() as session:
        replicas.doubt(session, printer.shards(edition.id)[0], "toronto", "gone", NOON)
    assert printer.untold() == []
    assert printer.titles() == ["roads"]


def test_it_is_signed_in_time_and_mirrored_though_nothing_changes(sqlite_printer: Printer) -> None:
    printer = sqlite_printer
    root = printer.make_keys()
    printer.mirror("roads", "a.csv")
    printer.settle()
    printer.pass_time(30 * 86400, 86400)
    labels = [one.label for one in printer.editions()]
    assert labels[:2] == ["1", "1.2"]
    assert 3 <= len(labels) <= 5
    with printer.store.read() as session:
        later = printer.store.now(session) + timedelta(days=30)
    with Fetcher("DataFleet/test", ()) as fetcher:
        home = Home(printer.centre.folder / "client")
        mirrors = [Mirror.at(str(printer.place))]
        assert sync(home, mirrors, Trust(sha256=root.sha256), later, fetcher).changed


def test_an_edition_has_the_tables_under_plain_names_and_what_signs_them(printer: Printer) -> None:
    printer.make_keys()
    printer.mirror("roads", "a.csv")
    printer.settle()
    [edition] = printer.editions()
    with printer.store.read() as session:
        rows = session.exec(select(Artifact).where(Artifact.version_id == edition.id)).all()
    roles = {row.path: row.role for row in rows}
    assert roles == {
        **dict.fromkeys(
            ("catalogue.parquet", "catalogue.en.parquet", "catalogue.fr.parquet"), "data"
        ),
        "catalogue.json": "data",
        **{
            f"metadata/{name}.json": "metadata"
            for name in ("1.root", "1.snapshot", "1.targets", "timestamp")
        },
        "manifest.json": "manifest",
    }
    for row in rows:
        if row.role == "data":
            held = (printer.place / row.path).read_bytes()
            assert row.sha256 == hashlib.sha256(held).hexdigest()


def test_what_cannot_be_written_says_why_and_is_tried_again(printer: Printer) -> None:
    printer.mirror("roads", "a.csv")
    printer.settle()
    with printer.store.write() as session:
        session.get_one(Dataset, "roads").title = "Roads"
    printer.centre.advance(6)
    printer.centre.tick()
    printer.centre.advance(60)
    table = printer.place / "catalogue.parquet"
    table.unlink()
    table.mkdir()
    with pytest.raises(IsADirectoryError):
        printer.issue()
    assert reason(printer).startswith("it cannot be written")
    table.rmdir()
    printer.settle()
    assert printer.page("datasets", "roads", "collection.json")["title"] == "Roads"
    assert printer.untold() == []
    assert "cannot be written" not in reason(printer)
