"""What a record says of a version, where its data are too many for it, and what it waits for."""

from collections.abc import Iterator

import pytest
from sqlmodel import select

from fleet.control.rules import RuleSpec
from fleet.store.tables import Artifact, Version
from tests.centre_support import Centre, content
from tests.publications_support import EVERYWHERE, Office, opened
from tests.publish_support import bytes_of
from tests.zenodo_support import md5


@pytest.fixture
def office(sqlite_centre: Centre) -> Iterator[Office]:
    with opened(sqlite_centre) as made:
        yield made


def test_a_version_that_is_too_large_for_a_record_has_its_papers_there(office: Office) -> None:
    paths = [f"{number}.csv" for number in range(101)]
    version = office.centre.mirror(*paths, rule=EVERYWHERE)
    office.describe()
    office.work(60)
    row, (record,) = office.row(), office.records()
    assert (row.state, row.whole, office.version(version).doi) == ("published", False, record.doi)
    papers = {"SHA256SUMS", "MIRRORS.txt", "manifest.json", "data.torrent"}
    assert bytes_of(record).keys() == papers
    assert ", without the data: there are 105 files, and a record takes 100" in row.reason
    assert "zenodo" not in office.centre.replicas()
    assert not office.centre.transfers(kind="publish")


def test_papers_without_data_wait_until_they_can_name_a_mirror(office: Office) -> None:
    for name in ("toronto", "amsterdam", "netcup"):
        office.centre.apply_sites(name, trusted=True, read_url="")
    office.centre.mirror(*(f"{number}.csv" for number in range(101)), rule=EVERYWHERE)
    office.describe()
    office.work(2000)
    assert "until a site has read a piece of it at another" in office.row().reason
    assert not office.records()


def test_data_wait_a_while_for_a_mirror_to_name_and_are_published_without(office: Office) -> None:
    for name in ("toronto", "amsterdam", "netcup"):
        office.centre.apply_sites(name, trusted=True, read_url="")
    office.centre.mirror("a.csv", rule=EVERYWHERE)
    office.describe()
    office.work(600)
    assert "but no longer than 12:15 UTC" in office.row().reason
    office.work(600)
    (record,) = office.records()
    assert "MIRRORS.txt" not in record.files


def test_what_nobody_said_is_asked_for_and_the_publication_goes_on_once_it_is_said(
    office: Office,
) -> None:
    office.centre.mirror("a.csv", rule=EVERYWHERE)
    office.work()
    row = office.row()
    assert (row.state, row.look_at) == ("refused", None)
    assert row.reason == (
        "a record cannot do without title, summary, creators, publisher, licence: write that into "
        "a file and say `fleet dataset describe data FILE`"
    )
    assert not office.zenodo.records.records
    office.describe()
    office.work(60)
    assert office.row().state == "published"


def test_a_doi_that_a_version_came_with_is_kept_and_its_record_names_it(office: Office) -> None:
    version = office.centre.mirror("a.csv", rule=EVERYWHERE)
    with office.centre.store.write() as session:
        session.get_one(Version, version).doi = "10.5281/zenodo.42"
    office.describe()
    office.work(60)
    (record,) = office.records()
    assert office.version(version).doi == "10.5281/zenodo.42"
    assert office.row().doi == record.doi
    assert office.concept_doi() is None  # people cite the others' record, not one of ours
    same = {"identifier": "10.5281/zenodo.42", "scheme": "doi"}
    assert (
        same | {"relation_type": {"id": "isidenticalto"}} in record.metadata["related_identifiers"]
    )


def test_an_md5_that_contradicts_the_ledger_is_learned_by_nobody(office: Office) -> None:
    office.centre.mirror("a.csv", rule=EVERYWHERE)
    office.describe()
    order = office.order()
    (item,) = office.centre.outcome(order).items
    office.centre.report(order, items=(item.model_copy(update={"md5": "0" * 32}),))
    (transfer,) = office.centre.transfers(kind="publish")
    assert "0" * 32 in transfer.reason
    with office.centre.store.read() as session:
        found = session.exec(select(Artifact.md5).where(Artifact.path == "a.csv")).all()
    assert found == [md5(content("a.csv"))]


def test_a_version_that_is_still_being_brought_in_is_published_once_it_is_complete(
    office: Office,
) -> None:
    version = office.centre.mirror("a.csv", rule=RuleSpec(copies=1, selector="kind=node"))
    office.publish(version, at="zenodo")
    office.describe()
    office.round()
    assert "is not published yet: not all its files are known" in office.told(version)
    office.work(60)
    assert office.row().state == "published"
