"""Publications on each kind of database: from a rule or a wish to a record that is a copy."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlmodel import select

from fleet.control import descriptions, holds, sites, suspensions
from fleet.control.errors import NotFoundError, RefusedError
from fleet.control.holds import SupersededError
from fleet.control.rules import RuleSpec
from fleet.control.sites import SiteSpec
from fleet.descriptions import Description
from fleet.places import RecordsPlace
from fleet.repositories import Memory
from fleet.store import locking
from fleet.store.database import Store
from fleet.store.tables import Artifact, Dataset, Publication, Version
from tests.api_support import three_sites
from tests.centre_support import Centre, content
from tests.databases import until_blocked
from tests.publications_support import EVERYWHERE, FILL_TOKEN, Office, opened
from tests.publish_support import bytes_of
from tests.zenodo_support import Person, md5


@pytest.fixture
def office(centre: Centre) -> Iterator[Office]:
    with opened(centre) as made:
        yield made


def test_a_rule_that_selects_a_repository_has_the_version_published_there(office: Office) -> None:
    version = office.centre.mirror("a.csv", "b.csv", rule=EVERYWHERE)
    office.work()
    assert "zenodo takes whole versions only" in office.told(version)
    office.describe()
    office.work(60)

    row, (record,) = office.row(), office.records()
    assert row.state == "published"
    assert row.reason == f"published as {office.zenodo.url}/records/{record.id}"
    assert office.version(version).doi == row.doi == record.doi
    held = bytes_of(record)
    papers = {"SHA256SUMS", "MIRRORS.txt", "manifest.json", "data.torrent"}
    assert held.keys() == {"a.csv", "b.csv"} | papers
    assert held["b.csv"] == content("b.csv")
    assert b"http://toronto.example/data/" in held["MIRRORS.txt"]
    assert b"http://toronto.example/" in held["data.torrent"]
    assert office.centre.replicas()["zenodo"] == ["available"]
    assert "takes whole versions only" not in office.told(version)
    assert not office.centre.transfers(kind="copy", target_id="zenodo")
    assert office.centre.transfers(kind="probe", target_id="zenodo")


def test_an_executor_is_told_which_draft_to_fill_and_given_no_more_than_it_needs(
    office: Office,
) -> None:
    office.centre.mirror("a.csv", "b.csv", rule=EVERYWHERE)
    office.describe()
    order = office.order()
    assert order.grant is not None
    assert (order.task, order.shard, order.digests) == ("publish", None, ("sha256", "md5"))
    assert (order.grant.token, order.grant.key_id) == (FILL_TOKEN, "")
    assert order.grant.place == RecordsPlace(endpoint=office.zenodo.url, record=office.row().record)
    assert [(one.path, one.sha256 is not None) for one in order.items] == [
        ("a.csv", True),
        ("b.csv", True),
    ]
    assert all(one.sources for one in order.items)


def test_the_next_version_is_one_of_the_same_concept(office: Office) -> None:
    for paths in (("a.csv",), ("a.csv", "b.csv")):
        office.centre.mirror(*paths, rule=EVERYWHERE)
        office.describe()
        office.work(60)
    one, two = office.records()
    assert (one.concept, one.index) == (two.concept, 1)
    assert (two.index, len({one.doi, two.doi})) == (2, 2)
    concept = office.zenodo.records.concepts[one.concept].doi
    assert office.concept_doi() == concept
    assert concept not in {"", one.doi, two.doi}
    related = two.metadata["related_identifiers"]
    assert {
        "identifier": one.doi,
        "scheme": "doi",
        "relation_type": {"id": "isnewversionof"},
    } in related


def test_md5s_that_the_ledger_lacked_are_learned_as_the_files_are_brought(office: Office) -> None:
    version = office.centre.mirror("a.csv", rule=RuleSpec(copies=1, selector="id=toronto"))
    office.work()
    with office.centre.store.write() as session:
        for one in session.exec(select(Artifact)).all():
            assert one.md5 is None
    office.describe()
    office.publish(version, at="zenodo")
    office.work(1200)
    assert office.row().state == "published"
    with office.centre.store.read() as session:
        found = session.exec(select(Artifact.md5).where(Artifact.path == "a.csv")).all()
    assert found == [md5(content("a.csv"))]
    assert office.centre.replicas()["zenodo"] == ["available"]  # though the rule asks for one copy


def test_without_a_rule_that_says_where_a_repository_has_to_be_named(office: Office) -> None:
    version = office.centre.mirror("a.csv", rule=RuleSpec(copies=1, selector="kind=node"))
    office.work()
    with pytest.raises(RefusedError, match=r"selects no repository: name one with --at \(zenodo\)"):
        office.publish(version)
    with pytest.raises(NotFoundError, match="there is no repository 'toronto': give one of zenodo"):
        office.publish(version, at="toronto")
    with pytest.raises(NotFoundError, match="there is no version 'none'"):
        office.publish("none")
    office.publish("data", at="zenodo")
    assert office.row().version_id == version


def test_a_superseded_version_is_begun_only_where_a_person_asks(office: Office) -> None:
    one = office.centre.mirror("a.csv", rule=EVERYWHERE)
    office.work()
    two = office.centre.mirror("a.csv", "b.csv", rule=EVERYWHERE)
    office.work()
    office.describe()
    office.work(60)
    assert [(row.version_id, row.state) for row in office.rows()] == [(two, "published")]
    office.publish(one)
    office.work(60)
    assert {row.version_id: row.state for row in office.rows()} == {
        one: "published",
        two: "published",
    }
    assert len({record.concept for record in office.records()}) == 1


def test_a_version_waits_while_the_repository_has_a_draft_of_another(office: Office) -> None:
    office.centre.mirror("a.csv", rule=EVERYWHERE)
    office.describe()
    order = office.order()
    two = office.centre.mirror("a.csv", "b.csv", rule=EVERYWHERE)
    for _ in range(8):
        office.round()
    assert "zenodo has a draft of version" in office.told(two)
    office.carry_out(order)
    office.work(600)
    assert [row.state for row in office.rows()] == ["published", "published"]
    assert len({record.concept for record in office.records()}) == 1


def test_what_vanished_from_a_draft_is_brought_once_more(office: Office) -> None:
    office.centre.mirror("a.csv", rule=EVERYWHERE)
    office.describe()
    order = office.order()
    office.carry_out(order)
    assert Person(office.zenodo).delete(office.row().record, "a.csv").status_code == 204
    office.work(120)
    assert office.row().state == "published"
    assert len(office.centre.transfers(kind="publish")) == 2
    assert len(office.zenodo.records.records) == 1


def test_a_filling_that_is_given_up_waits_for_a_person_and_begins_anew_when_asked(
    office: Office,
) -> None:
    version = office.centre.mirror("a.csv", rule=EVERYWHERE)
    office.describe()
    for _ in range(office.centre.settings.max_attempts):
        office.centre.report(office.order(), items=(), reason="the disk is full")
        office.centre.advance(100)
    office.work()
    assert office.row().state == "refused"
    assert "the disk is full" in office.row().reason
    (transfer,) = office.centre.transfers(kind="publish")
    with pytest.raises(RefusedError, match="ask again for the whole with `fleet publish"):
        suspensions.retry(office.centre.store, transfer.id)
    office.publish(version)
    office.work(60)
    assert office.row().state == "published"
    assert [one.state for one in office.centre.transfers(kind="publish")] == ["cancelled", "done"]


def test_a_repository_that_is_retired_publishes_nothing_more(office: Office) -> None:
    office.centre.mirror("a.csv", rule=EVERYWHERE)
    office.work()
    spec = {"id": "zenodo", "kind": "repository", "driver": "zenodo", "retired": "lost"}
    spec["store"] = {"endpoint": office.zenodo.url}
    sites.apply(office.centre.store, (SiteSpec.model_validate(spec),))
    office.describe()
    office.work(60)
    assert office.rows() == []


def test_one_that_was_superseded_may_write_nothing_down_and_asks_for_nothing_more(
    office: Office,
) -> None:
    office.centre.mirror("a.csv", rule=EVERYWHERE)
    office.describe()
    office.centre.work()
    (row,) = office.rows()
    first = holds.take(office.centre.store, office.centre.settings, row.id)
    assert first is not None
    assert holds.take(office.centre.store, office.centre.settings, row.id) is None
    office.centre.advance(office.centre.settings.lease_seconds + 1)
    second = holds.take(office.centre.store, office.centre.settings, row.id)
    assert second is not None
    with pytest.raises(SupersededError):
        first.remember(Memory(record="1"))
    with first, pytest.raises(SupersededError):
        first.close("", whole=True)
    second.remember(Memory(asked=1.0))
    assert office.row().asked == 1.0


def test_a_hold_is_renewed_while_its_step_lasts(office: Office) -> None:
    office.centre.mirror("a.csv", rule=EVERYWHERE)
    office.describe()
    office.centre.work()
    settings = office.centre.settings.model_copy(update={"lease_seconds": 0.3})
    held = holds.take(office.centre.store, settings, office.row().id)
    assert held is not None
    before = office.row().held_until
    with held:
        office.centre.advance(100)
        until = time.monotonic() + 20
        while office.row().held_until == before:
            assert time.monotonic() < until


def test_papers_have_the_manifest_though_no_md5_of_the_data_is_known(office: Office) -> None:
    paths = [f"{number}.csv" for number in range(101)]
    version = office.centre.mirror(*paths, rule=RuleSpec(selector="kind=node"))
    office.describe()
    office.publish(version, at="zenodo")
    office.work(60)
    (record,) = office.records()
    papers = {"SHA256SUMS", "MIRRORS.txt", "manifest.json", "data.torrent"}
    assert bytes_of(record).keys() == papers


def test_who_describes_a_dataset_waits_for_who_ends_its_publication_and_not_each_for_the_other(
    postgres_store: Store, tmp_path: Path
) -> None:
    with opened(three_sites(postgres_store, tmp_path)) as office:
        version = office.centre.mirror("a.csv", rule=EVERYWHERE)
        office.work()
        row = office.row()
        said = Description.model_validate({"title": {"en": "Roads"}})
        with ThreadPoolExecutor(1) as other:
            with postgres_store.write() as session:
                locking.lock(session, Publication, row.id)
                described = other.submit(descriptions.keep, postgres_store, "data", said)
                until_blocked(postgres_store)
                locking.lock(session, Version, version)
                locking.lock(session, Dataset, "data")
            assert described.result(60) == "data"
