"""Files of a draft at Zenodo: whatever fails or dies, what a record holds, and what it refuses."""

import hashlib
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from fleet.places import RecordsPlace
from fleet.rehearsal.zenodo import TOKEN, Zenodo
from fleet.rehearsal.zenodo.troubles import line
from tests.storage_kills import zenodo_fill
from tests.storage_support import AGENT, record
from tests.zenodo_support import Person
from workers.lease import Lease, Stopped
from workers.storage import zenodo as driver
from workers.storage.contract import Content, Denied, StorageError, Taken, Unfit
from workers.storage.zenodo import Record

DATA = random.Random(1).randbytes(3_000_000)
PATH, KEY = "census/v1/maps/a file.csv", "maps/a file.csv"


@dataclass
class Draft:
    """A draft for version v1 of the census, and what holds it."""

    zenodo: Zenodo
    me: Person
    name: str

    @property
    def storage(self) -> Record:
        """The draft or record, as a new attempt has it."""
        return record(self.zenodo.url, self.name, "census/v1")

    @property
    def held(self) -> dict[str, bytes | None]:
        files = self.zenodo.records.records[self.name].files.values()
        return {
            one.key: b"".join(piece.read() for piece in one.complete.pieces)
            if one.complete
            else None
            for one in files
        }

    def asked(self, method: str, path: str = "") -> int:
        return sum(one.method == method and path in one.path for one in self.zenodo.log)


@pytest.fixture
def draft(tmp_path: Path) -> Iterator[Draft]:
    with Zenodo(
        tmp_path / "zenodo",
        now=lambda: datetime.fromtimestamp(1_800_000_000 + len(running.log), UTC),
    ) as running:
        me = Person(running)
        yield Draft(running, me, me.create())


def content(tmp_path: Path, data: bytes = DATA) -> Content:
    file = tmp_path / "staged"
    file.write_bytes(data)
    return Content(file, len(data), hashlib.sha256(data).hexdigest())


ONCE = [
    line("content_lost"),
    line("content_reset"),
    line("content_damaged"),
    line("commit_lost"),
    line("start_lost"),
    line("throttled"),
    line("throttled_silent", skip=1),
    line("gateway_502"),
    line("gateway_502", skip=3),
    "PUT */content drop 1000000",
    "PUT */content refuse 500",
    "PUT */content mask 504 <html>",
    "POST */commit refuse 500",
    "POST */commit mask 200 {}",
    "POST */files drop",
    "POST */files refuse 504 <html>",
    "GET */files refuse 500",
    "GET */files cut 10",
    "GET */files mask 200 <html>",
    "GET */files mask 200 Content-Type=application/json []",
    "GET /api/records/* times 4 drop",
]


@pytest.mark.parametrize("fault", ONCE)
def test_a_fault_that_passes_leaves_one_whole_file(
    fault: str, draft: Draft, tmp_path: Path
) -> None:
    draft.zenodo.script.add(fault)
    stored = draft.storage.write(PATH, content(tmp_path), Lease())
    assert stored.md5 == hashlib.md5(DATA).hexdigest()
    assert draft.zenodo.script.used == [fault] * len(draft.zenodo.script.used) != []
    assert draft.held == {KEY: DATA}


def test_bytes_that_arrived_are_not_sent_again(draft: Draft, tmp_path: Path) -> None:
    draft.zenodo.script.add("PUT */content lose", "GET */files/* times 9 refuse 500")
    with pytest.raises(StorageError, match=rf"{PATH} cannot be sent"):
        draft.storage.write(PATH, content(tmp_path), Lease())
    draft.zenodo.script.clear()
    draft.storage.write(PATH, content(tmp_path), Lease())
    assert draft.held == {KEY: DATA}
    assert draft.asked("PUT") == 1


def test_of_a_draft_the_folder_of_its_version_is_held(draft: Draft, tmp_path: Path) -> None:
    storage = draft.storage
    storage.write(PATH, content(tmp_path), Lease())
    assert [one.path for one in storage.list()] == [PATH]
    assert [one.path for one in storage.list("census/v1/maps")] == [PATH]
    assert [one.path for one in storage.list("census/v2")] == []
    for path in ("census/v2/a.csv", "a.csv", "census/v10/a.csv"):
        with pytest.raises(Unfit, match="is no file of census/v1"):
            storage.write(path, content(tmp_path), Lease())


def test_a_published_record_is_read_by_ranges_and_gone_on_with_when_cut(draft: Draft) -> None:
    draft.me.upload(draft.name, KEY, DATA)
    draft.me.publish(draft.name)
    draft.zenodo.script.add(
        "GET /records/* cut 1200000",
        "GET /records/* cut 600000",
        "GET /records/* refuse 503 busy",
        "GET /records/* refuse 404 <html>",
    )
    storage = draft.storage
    found = storage.stat(PATH)
    assert (found and found.size, found and found.md5) == (len(DATA), hashlib.md5(DATA).hexdigest())
    assert b"".join(storage.read(PATH)) == DATA
    assert len(draft.zenodo.script.used) == 4
    reads = [one for one in draft.zenodo.log if one.path.startswith("/records/")]
    assert sum(one.sent for one in reads) < len(DATA) * 1.5
    assert b"".join(storage.read(PATH, 5, 100)) == DATA[5:105]


def test_a_draft_is_read_from_where_it_broke_off(draft: Draft) -> None:
    draft.me.upload(draft.name, KEY, DATA)
    draft.zenodo.script.add("GET */content cut 1200000")
    assert b"".join(draft.storage.read(PATH)) == DATA


def test_what_cannot_be_read_is_told(draft: Draft) -> None:
    draft.me.upload(draft.name, KEY, DATA)
    draft.zenodo.script.add("GET */content times 9 refuse 500")
    with pytest.raises(StorageError, match=rf"{PATH} cannot be read.*HTTP 500"):
        list(draft.storage.read(PATH))


def test_a_published_record_is_never_changed(draft: Draft, tmp_path: Path) -> None:
    draft.me.upload(draft.name, KEY, DATA)
    draft.me.publish(draft.name)
    storage, before = draft.storage, draft.asked("PUT")
    storage.write(PATH, content(tmp_path), Lease())  # it is there
    with pytest.raises(Denied, match="is published, and never changes") as told:
        storage.write("census/v1/b.csv", content(tmp_path), Lease())
    assert told.value.final
    with pytest.raises(Taken):
        storage.write(PATH, content(tmp_path, DATA[::-1]), Lease())
    with pytest.raises(Denied, match=rf"{PATH} stays: record {draft.name} of .* is published"):
        storage.remove(PATH)
    storage.remove("census/v1/none.csv")
    assert draft.asked("PUT") == before
    assert draft.asked("DELETE") == 0
    assert draft.held == {KEY: DATA}


def test_a_record_that_is_full_refuses_before_the_first_byte(draft: Draft, tmp_path: Path) -> None:
    draft.me.start(draft.name, *(f"{number}.csv" for number in range(100)))
    for number in range(100):
        draft.me.put(draft.name, f"{number}.csv", b"")
        draft.me.commit(draft.name, f"{number}.csv")
    before = draft.asked("PUT")
    with pytest.raises(Unfit, match="there are 101 files, and a record takes 100"):
        draft.storage.write(PATH, content(tmp_path), Lease())
    with pytest.raises(Unfit, match="no name that a record's file may have"):
        draft.storage.write(f"census/v1/{'x' * 200}/{'y' * 100}", content(tmp_path), Lease())
    huge = Content(tmp_path / "none", 50 * 10**9 + 1, "0" * 64, "0" * 32)
    with pytest.raises(Unfit, match="takes at most 50,000,000,000"):
        draft.storage.write(PATH, huge, Lease())
    assert draft.asked("PUT") == before


def test_a_token_that_may_not_is_told_and_is_final(draft: Draft, tmp_path: Path) -> None:
    place = RecordsPlace(endpoint=draft.zenodo.url, record=draft.name)
    with pytest.raises(Denied, match="check the token") as told:
        Record(place, "hush-hush", AGENT).write("a.csv", content(tmp_path), Lease())
    assert told.value.final
    assert "hush-hush" not in str(told.value)


def test_a_draft_that_is_gone_is_told_and_is_final(draft: Draft, tmp_path: Path) -> None:
    draft.me.discard(draft.name)
    with pytest.raises(Denied, match="there is no such draft"):
        draft.storage.write(PATH, content(tmp_path), Lease())


def test_that_it_asks_us_to_slow_down_is_told_to_the_centre(draft: Draft, tmp_path: Path) -> None:
    draft.zenodo.script.add("POST */files refuse 429 Retry-After=7 slower")
    place = RecordsPlace(endpoint=draft.zenodo.url, record=draft.name)
    lease = Lease()
    patience = driver.Patience(60, sleep=lambda _: None)
    Record(place, TOKEN, AGENT, lease, patience=patience).write("a", content(tmp_path), lease)
    (told,) = lease.quotas.demands(0.0)[1]
    assert (told.host, told.retry_after) == (httpx.URL(draft.zenodo.url).netloc.decode(), 7)


def test_an_attempt_that_is_to_end_sends_nothing_more(draft: Draft, tmp_path: Path) -> None:
    class Ending(Lease):
        def check(self) -> None:
            if draft.asked("POST", "/files"):
                raise Stopped("the centre said stop")

    with pytest.raises(Stopped):
        draft.storage.write(PATH, content(tmp_path), Ending())
    assert draft.held == {KEY: None}


@pytest.mark.slow
def test_a_fill_killed_at_any_boundary_is_completed_by_the_next(tmp_path: Path) -> None:
    figures = zenodo_fill(tmp_path, 100_000)
    assert figures.kills >= 30
    assert (figures.incomplete, figures.corrupt, figures.double, figures.left) == (0, 0, 0, 0)
