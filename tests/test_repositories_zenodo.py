"""Versions are published at the rehearsed Zenodo: whole or by their papers, one after another."""

import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from fleet.invenio import Calls, Corrupt, DraftFiles, Unfit, Waiting, read_record
from fleet.planning.repositories import RecordLimits
from fleet.rehearsal.zenodo import Switches, Zenodo
from fleet.repositories import Memory, urn
from tests.publish_support import (
    AGENT,
    DESCRIBED,
    FILES,
    Clock,
    Office,
    bearing,
    bytes_of,
    deposit,
    wanted,
)
from tests.zenodo_support import Person, md5


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def zenodo(tmp_path: Path, clock: Clock) -> Iterator[Zenodo]:
    tokens = {"rehearsal": "1", "curator": "2"}
    with Zenodo(tmp_path / "bytes", tokens=tokens, now=clock.moment) as zenodo:
        yield zenodo


@pytest.fixture
def office(zenodo: Zenodo, clock: Clock) -> Office:
    return Office(zenodo, clock)


def writes(zenodo: Zenodo) -> list[str]:
    return [f"{entry.method} {entry.path}" for entry in zenodo.log if entry.method != "GET"]


def test_a_version_becomes_a_record_with_a_doi_and_files_that_can_be_read(
    zenodo: Zenodo, office: Office
) -> None:
    done = office.publish(deposit())
    (record,) = bearing(zenodo, "one")
    concept = zenodo.records.concepts[record.concept]
    assert (done.id, done.doi, done.concept, done.concept_doi) == (
        record.id,
        record.doi,
        concept.id,
        concept.doi,
    )
    assert done.url == f"{zenodo.url}/records/{record.id}"
    for copy in done.files:
        ranged = httpx.get(copy.url, headers={"Range": "bytes=2-5"})
        assert (ranged.status_code, ranged.content) == (206, FILES[copy.key][2:6])
    assert {copy.key: copy.md5 for copy in done.files} == {k: md5(v) for k, v in FILES.items()}
    assert zenodo.records.counts()["dois"] == 1
    assert office.memory == Memory(record=done.id, doi=done.doi)


def test_what_was_asked_for_is_remembered_before_and_its_id_before_all_else(
    zenodo: Zenodo, office: Office
) -> None:
    office.publish(deposit())
    asked, made, reserved = office.told
    assert (asked.asked is not None, asked.record) == (True, "")
    assert (made.asked, made.record != "", made.doi) == (None, True, "")
    assert reserved.doi.endswith(reserved.record)


def test_a_publication_done_again_asks_for_nothing_and_reads_no_file(
    zenodo: Zenodo, office: Office
) -> None:
    done = office.publish(deposit())
    before = writes(zenodo)
    office.read.clear()
    assert office.publish(deposit()) == done
    assert office.forgetful().publish(deposit()) == done
    assert (writes(zenodo), office.read) == (before, [])


def test_a_record_says_what_it_is_in_english_and_french(zenodo: Zenodo, office: Office) -> None:
    office.publish(deposit())
    (record,) = bearing(zenodo, "one")
    told = record.metadata
    assert told["title"] == "Buildings of Canada"
    assert told["additional_titles"] == [
        {
            "title": "Bâtiments du Canada",
            "type": {"id": "translated-title"},
            "lang": {"id": "fra"},
        }
    ]
    assert told["description"] == "<p>All of &lt;them&gt;.</p><p>Now.</p>"
    assert told["additional_descriptions"][0]["description"] == "<p>Tous.</p>"
    assert told["languages"] == [{"id": "eng"}, {"id": "fra"}]
    assert [one["person_or_org"]["type"] for one in told["creators"]] == [
        "organizational",
        "personal",
    ]
    assert (told["rights"], told["version"]) == ([{"id": "cc-by-4.0"}], "2026-11")
    assert told["related_identifiers"] == [
        {
            "identifier": "https://data.example.org/buildings/2026-11/",
            "scheme": "url",
            "relation_type": {"id": "isidenticalto"},
        }
    ]


def test_a_next_version_has_its_own_doi_under_the_same_concept(
    zenodo: Zenodo, office: Office, clock: Clock
) -> None:
    first = office.publish(deposit())
    later = Office(zenodo, clock)
    files = {"a.csv": FILES["a.csv"], "new.csv": b"new"}
    described = replace(DESCRIBED, label="2026-12", previous_doi=first.doi)
    second = later.publish(deposit("two", files, previous=first.id, description=described), files)
    assert second.concept_doi == first.concept_doi
    assert second.doi != first.doi
    assert {copy.key for copy in second.files} == set(files)
    related = bearing(zenodo, "two")[0].metadata["related_identifiers"]
    assert related[-1]["relation_type"] == {"id": "isnewversionof"}
    assert office.forgetful().publish(deposit()).id == first.id
    third = Office(zenodo, clock).publish(deposit("three", previous=first.id))
    assert third.concept == first.concept
    assert zenodo.records.counts() | {"files": 0} == {
        "concepts": 1,
        "records": 3,
        "drafts": 0,
        "dois": 3,
        "files": 0,
    }


def test_a_draft_of_its_own_is_not_taken_for_the_next_version_of_a_concept(
    zenodo: Zenodo, office: Office, clock: Clock
) -> None:
    first = office.publish(deposit())
    with Office(zenodo, clock).publisher() as publisher:
        alone = publisher.prepare(deposit("two"), Memory())
    second = Office(zenodo, clock).publish(deposit("two", previous=first.id))
    assert second.concept == first.concept
    assert not zenodo.records.records[alone.record].published


def test_a_next_version_whose_memory_was_lost_is_found_before_the_search_knows_it(
    zenodo: Zenodo, office: Office, clock: Clock
) -> None:
    first = office.publish(deposit())
    second = Office(zenodo, clock).publish(deposit("two", previous=first.id))
    zenodo.records.switches = Switches(index_lag=1e6)
    assert office.forgetful().publish(deposit("two", previous=first.id)) == second
    assert zenodo.records.counts()["drafts"] == 0


def test_the_draft_of_a_concept_that_is_anothers_work_is_left_alone(
    zenodo: Zenodo, office: Office, clock: Clock
) -> None:
    first = office.publish(deposit())
    me = Person(zenodo)
    draft = me.version(first.id).json()["id"]
    me.upload(draft, "mine.csv", b"1")
    with pytest.raises(Unfit, match=f"draft {draft} is another's work: publish or discard it"):
        Office(zenodo, clock).publish(deposit("two", previous=first.id))
    assert bytes_of(zenodo.records.records[draft]) == {"mine.csv": b"1"}


def test_a_draft_that_was_begun_is_gone_on_with(zenodo: Zenodo, office: Office) -> None:
    with office.publisher() as publisher:
        memory = publisher.prepare(deposit(), Memory())
    me = Person(zenodo)
    me.upload(memory.record, "a.csv", FILES["a.csv"])
    me.upload(memory.record, "stale.csv", b"of another attempt")
    me.start(memory.record, "maps%2Fb c.csv")
    done = office.publish(deposit())
    assert (done.id, done.doi) == (memory.record, memory.doi)
    assert "a.csv" not in office.read
    assert bytes_of(bearing(zenodo, "one")[0]) == FILES


def test_other_bytes_of_a_name_are_taken_out_of_the_draft(zenodo: Zenodo, office: Office) -> None:
    with office.publisher() as publisher:
        memory = publisher.prepare(deposit(), Memory())
    Person(zenodo).upload(memory.record, "a.csv", b"others")
    office.publish(deposit())
    assert bytes_of(bearing(zenodo, "one")[0]) == FILES


def test_an_executor_fills_the_draft_between_the_centres_two_steps(
    zenodo: Zenodo, office: Office
) -> None:
    with office.publisher() as publisher:
        memory = publisher.prepare(deposit(), Memory())
        with pytest.raises(Unfit, match=r"not as wanted are a\.csv, maps/b c\.csv: fill it first"):
            publisher.finish(deposit(), memory)
        assert zenodo.records.minted == []
        with Calls(zenodo.url, AGENT, "rehearsal") as calls:
            files = DraftFiles(calls, memory.record)
            files.fill(wanted(FILES), lambda one: io.BytesIO(FILES[one.key]))
        assert publisher.finish(deposit(), memory).doi == memory.doi


def test_a_doi_outlives_an_update_of_the_draft(zenodo: Zenodo, office: Office) -> None:
    zenodo.records.switches = Switches(update_drops_doi=True)
    with office.publisher() as publisher:
        memory = publisher.prepare(deposit(), Memory())
        changed = replace(DESCRIBED, mirrors=("https://elsewhere.example.org/",))
        assert publisher.prepare(deposit(description=changed), memory) == memory
    (record,) = bearing(zenodo, "one")
    assert (record.doi, len(record.metadata["related_identifiers"])) == (memory.doi, 1)
    assert "elsewhere" in str(record.metadata)


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        (RecordLimits(size=100), "there are 150,017 bytes, and a record takes 100"),
        (RecordLimits(files=1), "there are 2 files, and a record takes 1"),
        (RecordLimits(key=5), "'maps/b c.csv' is no name that a record's file may have"),
    ],
)
def test_what_a_record_does_not_take_is_refused_before_anything_is_asked(
    zenodo: Zenodo, office: Office, limits: RecordLimits, reason: str
) -> None:
    with pytest.raises(Unfit, match=reason):
        office.publish(deposit(limits=limits))
    assert (zenodo.log, office.told) == ([], [])


def test_a_file_that_is_not_the_one_the_ledger_has_is_not_published(
    zenodo: Zenodo, office: Office
) -> None:
    for wrong in (b"id,name\n1,Otta", b"id,name\n1,Ottawa\n2,Hull\n", b"id,name\n1,Gatino\n"):
        with pytest.raises(Corrupt, match=r"send 'a\.csv': what was read is not the file"):
            office.publish(deposit(), FILES | {"a.csv": wrong})
    assert zenodo.records.minted == []
    office.publish(deposit())


def test_a_draft_that_somebody_discarded_is_not_made_again_by_itself(
    zenodo: Zenodo, office: Office
) -> None:
    with office.publisher() as publisher:
        office.memory = publisher.prepare(deposit(), Memory())
    Person(zenodo).discard(office.memory.record)
    with pytest.raises(Unfit, match="somebody must have discarded it: forget the id"):
        office.publish(deposit())
    assert zenodo.records.counts()["drafts"] == 0


def test_a_curators_own_draft_is_published_by_its_community(
    zenodo: Zenodo, office: Office, clock: Clock
) -> None:
    community = zenodo.reviews.found("open-data", "Open data", frozenset({"1"}))
    done = office.publish(deposit(community="open-data"))
    assert zenodo.records.concepts[done.concept].communities == [community]
    again = deposit("two", previous=done.id, community="open-data")
    assert Office(zenodo, clock).publish(again).concept == done.concept


def test_a_community_that_has_not_answered_is_waited_for(zenodo: Zenodo, office: Office) -> None:
    zenodo.reviews.found("open-data", "Open data", frozenset({"2"}))
    version = deposit(community="open-data")
    for _ in range(2):
        with pytest.raises(Waiting, match="its curators have not answered yet") as waiting:
            office.publish(version)
        assert waiting.value.wait > 0
    (review,) = zenodo.reviews.requests.values()
    curator = Person(zenodo, "curator")
    curator.http.post(f"/api/requests/{review.id}/actions/accept")
    assert office.publish(version).doi == office.memory.doi


def test_a_community_that_declines_is_not_asked_again(zenodo: Zenodo, office: Office) -> None:
    zenodo.reviews.found("open-data", "Open data", frozenset({"2"}))
    with pytest.raises(Waiting):
        office.publish(deposit(community="open-data"))
    (review,) = zenodo.reviews.requests.values()
    Person(zenodo, "curator").http.post(f"/api/requests/{review.id}/actions/decline")
    with pytest.raises(Unfit, match="the review is declined"):
        office.publish(deposit(community="open-data"))
    with pytest.raises(Unfit, match="has no such community"):
        office.publish(deposit(community="nobody"))
    assert len(zenodo.reviews.requests) == 1


@pytest.mark.parametrize("old_shape", [False, True])
def test_a_record_is_read_by_any_of_its_names(
    zenodo: Zenodo, office: Office, old_shape: bool
) -> None:
    done = office.publish(deposit())
    zenodo.records.switches = Switches(old_shape=old_shape)
    with Calls(zenodo.url, AGENT) as calls:
        for name in (
            done.id,
            done.doi,
            done.concept_doi,
            f"https://doi.org/{done.doi}",
            f"https://zenodo.org/records/{done.id}",
            f"https://zenodo.org/record/{done.id}?token=x",
        ):
            assert read_record(calls, name) == done
        for name in ("10.5072/zenodo.77", "10.9999/zenodo." + done.id, "10.1/x", "999", "a b"):
            with pytest.raises(Unfit):
                read_record(calls, name)


def test_a_record_that_does_not_bear_the_versions_name_is_no_publication_of_it(
    zenodo: Zenodo, office: Office
) -> None:
    office.memory = Memory(record=Person(zenodo).published(**{"a.csv": b"1"}))
    with pytest.raises(Corrupt, match=f"does not bear {urn('one')}"):
        office.publish(deposit())
    assert office.memory.doi == ""


def test_a_deposit_needs_what_a_record_cannot_do_without(office: Office) -> None:
    bare = deposit(description=replace(DESCRIBED, creators=()))
    with pytest.raises(ValueError, match="cannot do without creators"):
        office.publish(bare)
