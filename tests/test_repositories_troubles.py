"""A repository that fails, forgets, throttles or lies: one DOI, the right bytes, a clear word."""

import io
import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fleet.invenio import (
    Busy,
    Calls,
    Patience,
    Refused,
    RepositoryError,
    Unsure,
    Wanted,
    read_record,
)
from fleet.invenio.calls import MOST
from fleet.invenio.pauses import pause
from fleet.rehearsal.exchange import Answer, Asked
from fleet.rehearsal.service import Service
from fleet.rehearsal.zenodo import TOKEN, Switches, Zenodo
from fleet.rehearsal.zenodo.troubles import TROUBLES, line
from fleet.repositories import Memory, Publisher
from fleet.repositories.drafts import SETTLE
from tests.publish_support import AGENT, DESCRIBED, FILES, Clock, Office, bearing, bytes_of, deposit
from tests.zenodo_support import Person

JSON = {"Content-Type": "application/json"}
SECRET = "s3cret-t0ken"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def zenodo(tmp_path: Path, clock: Clock) -> Iterator[Zenodo]:
    with Zenodo(tmp_path / "bytes", now=clock.moment) as zenodo:
        yield zenodo


@pytest.fixture
def office(zenodo: Zenodo, clock: Clock) -> Office:
    return Office(zenodo, clock)


def check(zenodo: Zenodo, version: str) -> None:
    """Check that of one version there is one record, whole, and nothing beside it."""
    (record,) = bearing(zenodo, version)
    assert record.published
    assert bytes_of(record) == FILES
    assert zenodo.records.minted.count(record.doi or "") == 1


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("name", TROUBLES)
def test_a_publication_outlasts_every_trouble_that_was_seen(
    zenodo: Zenodo, office: Office, clock: Clock, name: str, times: int
) -> None:
    first = office.publish(deposit())
    zenodo.script.add(line(name, times=times))
    Office(zenodo, clock).publish(deposit("two", previous=first.id))
    Office(zenodo, clock).publish(deposit("three"))
    assert zenodo.script.used
    for version in ("one", "two", "three"):
        check(zenodo, version)
    assert zenodo.records.counts()["drafts"] == 0


@pytest.mark.parametrize("act", ["lose", "drop", "mask 504 busy", "refuse 500", "refuse 429"])
def test_a_publication_outlasts_a_loss_at_any_request(
    zenodo: Zenodo, clock: Clock, act: str
) -> None:
    skip = 0
    while len(zenodo.script.used) == skip:
        zenodo.script.clear()
        zenodo.script.add(f"* /api/* skip {skip} {act}")
        Office(zenodo, clock).publish(deposit(f"{skip}"))
        check(zenodo, f"{skip}")
        skip += 1
    assert skip > 18
    assert zenodo.records.counts()["drafts"] == 0


@pytest.mark.parametrize("trouble", ["content_lost", "commit_lost"])
def test_bytes_that_arrived_are_not_sent_again(
    zenodo: Zenodo, office: Office, trouble: str
) -> None:
    zenodo.script.add(line(trouble))
    office.publish(deposit())
    check(zenodo, "one")
    assert office.read == list(FILES)


def test_a_file_that_another_run_committed_meanwhile_is_there_in_the_end(
    zenodo: Zenodo, office: Office
) -> None:
    me, once = Person(zenodo), iter([True])

    def opened(one: Wanted) -> io.BytesIO:
        if next(once, False):
            me.put(office.memory.record, one.key, FILES[one.key])
            me.commit(office.memory.record, one.key)
        return io.BytesIO(FILES[one.key])

    with office.publisher() as publisher:
        publisher.publish(deposit(), Memory(), opened)
    check(zenodo, "one")


def test_a_page_that_a_proxy_answers_does_not_tell_that_a_draft_is_gone(
    zenodo: Zenodo, office: Office
) -> None:
    with office.publisher() as publisher:
        publisher.prepare(deposit(), Memory())
    zenodo.script.add("GET /api/records/* times 3 refuse 404 Content-Type=text/html <html>")
    office.publish(deposit())
    check(zenodo, "one")


def test_a_draft_that_was_throttled_is_asked_for_again_without_a_search(
    zenodo: Zenodo, office: Office, clock: Clock
) -> None:
    zenodo.script.add("POST /api/records refuse 429 Retry-After=7 slower")
    office.publish(deposit())
    assert clock.waits == [7]


def test_new_versions_that_stay_broken_are_said_so_and_no_concept_is_made_instead(
    zenodo: Zenodo, office: Office, clock: Clock
) -> None:
    first = office.publish(deposit())
    zenodo.script.add(line("versions_500", times=100))
    later = Office(zenodo, clock)
    with pytest.raises(Unsure, match=f"record {first.id}: make the draft of .* answers HTTP 500"):
        later.publish(deposit("two", previous=first.id))
    assert zenodo.records.counts()["concepts"] == 1
    zenodo.script.clear()
    later.publish(deposit("two", previous=first.id))
    assert zenodo.records.counts()["concepts"] == 1


def test_a_draft_of_which_no_one_was_told_is_waited_for_until_the_search_knows_it(
    zenodo: Zenodo, office: Office, clock: Clock
) -> None:
    zenodo.records.switches = Switches(index_lag=200)
    zenodo.script.add(line("create_lost"))
    with pytest.raises(Busy, match="it is not known yet whether it is there") as busy:
        office.publish(deposit(), patience=20)
    assert (busy.value.final, 0 < busy.value.wait <= SETTLE) == (False, True)
    office.publish(deposit())
    check(zenodo, "one")


def test_a_draft_that_was_asked_for_and_never_made_is_asked_for_again(
    zenodo: Zenodo, office: Office, clock: Clock
) -> None:
    zenodo.script.add("POST /api/records drop")
    before = clock.time
    office.publish(deposit())
    check(zenodo, "one")
    assert clock.time - before >= SETTLE


def test_a_draft_that_shows_up_after_all_is_discarded_and_never_published(
    zenodo: Zenodo, office: Office, clock: Clock
) -> None:
    zenodo.records.switches = Switches(index_lag=10 * SETTLE)
    zenodo.script.add(line("create_lost"))
    done = office.publish(deposit())
    assert len(bearing(zenodo, "one")) == 2
    assert zenodo.records.counts()["dois"] == 1
    clock.time += 20 * SETTLE
    assert office.publish(deposit()) == done
    check(zenodo, "one")
    assert office.forgetful().publish(deposit()) == done


def test_a_run_that_another_has_taken_over_from_asks_for_nothing_more(
    zenodo: Zenodo, office: Office
) -> None:
    def superseded(memory: Memory) -> None:
        if memory.record:
            raise InterruptedError
        office.remember(memory)

    with Calls(zenodo.url, AGENT, TOKEN) as calls, pytest.raises(InterruptedError):
        Publisher(calls, superseded).publish(deposit(), Memory(), _closed)
    assert [entry.method for entry in zenodo.log] == ["GET", "POST"]
    office.publish(deposit())
    check(zenodo, "one")


def test_a_draft_by_another_name_is_none_of_ours(zenodo: Zenodo, office: Office) -> None:
    mine = Person(zenodo).create(title="Buildings of Canada")
    office.publish(deposit())
    assert not zenodo.records.records[mine].published


def test_a_draft_that_loses_our_name_is_discarded_with_the_reason(
    zenodo: Zenodo, office: Office
) -> None:
    body = {
        "id": "1001",
        "parent": {"id": "1000"},
        "is_published": False,
        "pids": {},
        "versions": {"index": 1},
        "metadata": {},
        "files": {},
        "errors": [{"field": "metadata.identifiers.0", "messages": ["Invalid scheme."]}],
    }
    answer = f"'Content-Type=application/json' '{json.dumps(body)}'"
    zenodo.script.add(f"POST /api/records mask 201 {answer}")
    with pytest.raises(Refused, match=r"metadata.identifiers.0: Invalid scheme"):
        office.publish(deposit())
    assert zenodo.records.counts()["drafts"] == 0


def test_metadata_that_are_not_taken_are_named(zenodo: Zenodo, office: Office) -> None:
    short = replace(DESCRIBED, titles=(replace(DESCRIBED.titles[0], text="Ab"),))
    with pytest.raises(RepositoryError, match=r"metadata.title: Shorter than minimum") as wrong:
        office.publish(deposit(description=short))
    assert wrong.value.final
    office.publish(deposit())
    check(zenodo, "one")


def test_the_rates_are_kept_so_that_none_is_ever_exceeded(
    zenodo: Zenodo, office: Office, clock: Clock
) -> None:
    zenodo.records.switches = Switches(rates=True)
    with office.publisher() as publisher:
        for number in range(12):
            version = deposit(f"{number}")
            publisher.publish(version, Memory(), lambda one: io.BytesIO(FILES[one.key]))
    assert len(zenodo.log) > 200
    assert {entry.status for entry in zenodo.log} <= {200, 201, 202, 204, 404}
    assert 60 <= sum(clock.waits) <= 180


@pytest.mark.parametrize(
    ("status", "headers", "seconds"),
    [
        (200, {}, 0),
        (200, {"x-ratelimit-remaining": "5", "x-ratelimit-reset": "1060"}, 0),
        (200, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1060"}, 60),
        (200, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "soon"}, 0),
        (201, {"retry-after": "7"}, 7),
        (503, {"retry-after": "Thu, 01 Jan 1970 00:17:00 GMT"}, 20),
        (429, {}, 60),
        (429, {"retry-after": "never"}, 60),
        (429, {"retry-after": "0"}, 60),
        (429, {"x-ratelimit-reset": "900"}, 60),
        (429, {"retry-after": "99999999999999999999999999"}, 60),
        (429, {"retry-after": "999999"}, 3600),
        # By the repository's own clock, whose headers these are.
        (
            200,
            {
                "x-ratelimit-remaining": "0",
                "x-ratelimit-reset": "90",
                "date": "Thu, 01 Jan 1970 00:01:00 GMT",
            },
            30,
        ),
    ],
)
def test_headers_say_how_long_to_leave_a_repository_alone(
    status: int, headers: dict[str, str], seconds: float
) -> None:
    assert pause(status, headers, 1000.0) == seconds


def test_a_file_with_another_sum_than_md5_is_read_without_one(liar: "Liar", clock: Clock) -> None:
    liar.said = lie(entries=[{"key": "a", "size": 5, "checksum": "multipart:abc-5"}])
    with calls(liar, clock) as asked:
        (copy,) = read_record(asked, "7").files
    assert (copy.size, copy.md5) == (5, None)


class Liar(Service):
    """A repository that answers everything alike."""

    said = Answer(200, JSON, b"{}")

    def answer(self, asked: Asked) -> Answer:
        return self.said


@pytest.fixture
def liar(tmp_path: Path) -> Iterator[Liar]:
    with Liar(tmp_path / "liar") as liar:
        yield liar


def calls(liar: Liar, clock: Clock) -> Calls:
    return Calls(liar.url, AGENT, SECRET, Patience(1e6, clock.now, clock.sleep), timeout=5)


RECORD: dict[str, Any] = {
    "id": "7",
    "parent": {"id": "6", "pids": {}},
    "pids": {},
    "is_published": True,
    "versions": {"index": 1},
    "metadata": {},
    "files": {"entries": []},
}


def lie(**changes: Any) -> Answer:
    return Answer(200, JSON, json.dumps(RECORD | changes).encode())


LIES = {
    "html": Answer(200, {"Content-Type": "text/html"}, b"<html>"),
    "untyped": Answer(200, {}, b"{}"),
    "not_json": Answer(200, JSON, b"{"),
    "list": Answer(200, JSON, b"[]"),
    "number": Answer(200, JSON, b"1" * 9000),
    "deep": Answer(200, JSON, b"[" * 200_000),
    "not_utf8": Answer(200, JSON, b'{"id": "\xff"}'),
    "huge": Answer(200, JSON, b" " * (MOST + 1)),
    "html_404": Answer(404, {"Content-Type": "text/html"}, b"<html>"),
    "no_id": lie(id=None),
    "path_id": lie(id="../7"),
    "bool_id": lie(id=True),
    "parent": lie(parent=[]),
    "published": lie(is_published="yes"),
    "index": lie(versions={"index": -1}),
    "doi": lie(pids={"doi": {"identifier": "10.5281/zenodo 7\n"}}),
    "files": lie(files={"entries": "none"}),
    "file": lie(files={"entries": ["a"]}),
    "key": lie(files={"entries": [{"key": "k" * 2000}]}),
    "dots": lie(files={"entries": [{"key": ".."}]}),
    "size": lie(files={"entries": [{"key": "a", "checksum": "md5:" + "0" * 32, "size": 1.5}]}),
    "md5": lie(files={"entries": [{"key": "a", "checksum": "md5:" + "g" * 32, "size": 1}]}),
    "metadata": lie(metadata=["title"]),
    "token": lie(id=SECRET + " "),
    "error": Answer(500, JSON, json.dumps({"message": f"Bearer {SECRET}\x1b[2J"}).encode()),
    "refusal": Answer(403, JSON, json.dumps({"message": SECRET, "errors": 5}).encode()),
    "elsewhere": Answer(302, {"Location": "https://example.org/api/records/7"}),
    "circle": Answer(302, {"Location": "/api/records/7"}),
}


@pytest.mark.parametrize("name", LIES)
def test_an_answer_that_makes_no_sense_is_told_of_in_words_that_hold_no_secret(
    liar: Liar, clock: Clock, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    caplog.set_level(logging.DEBUG)
    liar.said = LIES[name]
    with calls(liar, clock) as asked:
        with pytest.raises(RepositoryError, match="record 7: read it: ") as reading:
            read_record(asked, "7")
        said = Publisher(asked, lambda _: None)
        with pytest.raises(RepositoryError, match="urn:data-fleet:version:one: ") as publishing:
            said.publish(deposit(), Memory(), _closed)
    for error in (reading.value, publishing.value):
        assert SECRET not in str(error)
        assert len(str(error)) < 700
        assert str(error).isprintable()
    assert SECRET not in caplog.text
    assert SECRET not in repr(asked)
    assert {entry.method for entry in liar.log} == {"GET"}


def _closed(_: object) -> Any:
    raise AssertionError


@pytest.mark.parametrize(
    "url",
    [
        *("http://zenodo.org", "ftp://zenodo.org", "zenodo.org", "https://me:pw@zenodo.org"),
        *("https://zenodo.org/api", "https://zenodo.org?q=1", "https://", ""),
    ],
)
def test_a_token_is_sent_to_an_https_address_only(url: str) -> None:
    with pytest.raises(ValueError, match="is no repository's URL"):
        Calls(url, AGENT, SECRET)
