"""Uploads to the Archive: into which item, and what if it fails, refuses or takes its time."""

import hashlib
import logging
import random
import re
import string
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.places import ItemsPlace
from fleet.planning.items import identifier, is_own, locate
from fleet.rehearsal.archive.server import Archive as ArchiveServer
from fleet.rehearsal.archive.server import Habits
from fleet.rehearsal.service import Moment
from tests.storage_kills import archive_upload
from tests.storage_support import AGENT, ARCHIVE_KEYS, PATIENCE
from workers.lease import Lease, Stopped
from workers.storage.archive import Archive, Keys
from workers.storage.contract import (
    Content,
    Corrupt,
    Denied,
    Storage,
    StorageError,
    Stored,
    Taken,
    Unfit,
)

DATA = random.Random(1).randbytes(3_000_000)
PATH = "census/v1/raw/a file.bin"
ITEM, NAME = "dfc_census_v1", "raw/a file.bin"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ArchiveServer]:
    keys = {ARCHIVE_KEYS.key: ARCHIVE_KEYS.secret, "others": "secret"}
    with ArchiveServer(
        tmp_path / "server", keys, Habits(), lambda: 1_800_000_000.0 + len(server.log)
    ) as server:
        yield server


@pytest.fixture
def place(server: ArchiveServer) -> ItemsPlace:
    return ItemsPlace(endpoint=server.url, read=server.url, prefix="dfc", collection="open")


@pytest.fixture
def archive(place: ItemsPlace) -> Archive:
    return Archive(place, ARCHIVE_KEYS, AGENT, patience=PATIENCE)


def content(tmp_path: Path, data: bytes = DATA) -> Content:
    file = tmp_path / "staged"
    file.write_bytes(data)
    return Content(file, len(data), hashlib.sha256(data).hexdigest())


def put(server: ArchiveServer, item: str, data: bytes, name: str = NAME, **headers: str) -> None:
    """Upload something by other means."""
    given = {"Authorization": f"LOW {ARCHIVE_KEYS.key}:{ARCHIVE_KEYS.secret}", **headers}
    given = {"x-archive-auto-make-bucket": "1", **given}
    httpx.put(f"{server.url}/{item}/{name}", content=data, headers=given).raise_for_status()


def put_by_killed(server: ArchiveServer, data: bytes) -> None:
    put(server, ITEM, data, **{"x-archive-meta-fleet-folder": "census/v1"})


def uploads(server: ArchiveServer) -> int:
    return sum(one.method == "PUT" for one in server.log)


ANY_NAME = st.text(st.sampled_from(string.ascii_letters + "0_.-é ü%/"), min_size=1, max_size=90)
FOLDER = st.lists(ANY_NAME.map(lambda name: name.replace("/", "x")), min_size=2, max_size=2)


@given(one=FOLDER, other=FOLDER)
def test_every_version_has_an_item_of_its_own_whatever_its_name(
    one: list[str], other: list[str]
) -> None:
    names = [identifier("dfc", folder) for folder in (one, other)]
    assert all(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{2,99}", name) for name in names)
    assert (names[0].lower() == names[1].lower()) == (one == other)


def test_what_items_are_called_never_changes() -> None:
    """They are cited: another name would be a second item of every version."""
    for path, item, name in (
        ("census/v1/raw/a.csv", "dfc_census_v1", "raw/a.csv"),
        ("cen-sus/v1/a.csv", "dfc_cen-sus_v1", "a.csv"),
        ("a_b/c/a.csv", "dfc__a-b-c_02d7306b94c0342a", "a.csv"),
        ("Census/v1/a.csv", "dfc__census-v1_69f779ef9795acf2", "a.csv"),
        ("données/2021 été/a.csv", "dfc__donnees-2021-ete_fbdfb1a7f133b506", "a.csv"),
        ("b/a.csv", "dfc_b", "a.csv"),
        ("a.csv", "dfc", "a.csv"),
        (f"{'x' * 99}/v1/a.csv", f"dfc__{'x' * 78}_d7e6c0e6afc4ec82", "a.csv"),
    ):
        assert locate("dfc", path.split("/")) == (item, name)


def test_the_first_upload_makes_the_item_and_says_what_it_is(
    server: ArchiveServer, place: ItemsPlace, tmp_path: Path
) -> None:
    archive = Archive(place, ARCHIVE_KEYS, AGENT, expects=9_000_000, patience=PATIENCE)
    archive.write("données/2021/a.csv", content(tmp_path), Lease())
    (item,) = server.items.values()
    said = {name: item.metadata[name] for name in ("title", "mediatype", "collection")}
    assert said == {"title": ["données 2021"], "mediatype": ["data"], "collection": ["open"]}
    assert item.size_hint == 9_000_000
    (sent,) = (dict(one.headers) for one in server.log if one.method == "PUT")
    assert sent["content-length"] == str(len(DATA))
    assert sent["x-archive-queue-derive"] == sent["x-archive-keep-old-version"] == "0"
    assert "content-md5" in sent
    assert "transfer-encoding" not in sent
    assert sent["user-agent"] == AGENT


def test_items_are_listed_however_many_pages_the_search_has(
    archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.storage.archive.client.FOUND_MOST", 2)
    paths = [f"census/v{number}/a" for number in range(5)]
    for path in paths:
        archive.write(path, content(tmp_path), Lease())
    assert [one.path for one in archive.list()] == paths
    assert [one.path for one in archive.list("census")] == paths
    assert [one.path for one in archive.list("census/v3")] == paths[3:4]
    assert list(archive.list("cen")) == []


BUSY = "<Error><Code>SlowDown</Code></Error>"
ONCE = [
    f"PUT * refuse 503 {BUSY}",
    f"PUT * times 2 refuse 503 Retry-After=1 {BUSY}",
    "PUT * refuse 500 <Error><Code>InternalError</Code></Error>",
    "PUT * drop",
    "PUT * drop 1000",
    "PUT * lose",
    "PUT * damage",
    "PUT * mask 504 <html>",
    "GET /metadata/* refuse 500",
    "GET /metadata/* drop",
    "GET /metadata/* mask 200 <html>",
    "GET /metadata/* mask 200 []",
    "GET /metadata/* cut 20",
    "GET /metadata/* skip 1 refuse 503",
    "GET *?check_limit* refuse 503",
    "GET *?check_limit* lose",
    "GET *?check_limit* mask 200 <html>busy</html>",
    "GET *?check_limit* times 3 mask 200 '{\"over_limit\": 1}'",
    "GET *?check_limit* mask 200 []",
    "GET /services/* refuse 500",
    "GET /services/* mask 200 {}",
]


@pytest.mark.parametrize("late", [0, 5], ids=["at once", "late"])
@pytest.mark.parametrize("fault", ONCE)
def test_a_fault_that_passes_leaves_one_whole_file_in_one_item(
    fault: str, late: int, server: ArchiveServer, archive: Archive, tmp_path: Path
) -> None:
    server.habits = Habits(task_seconds=late)
    server.script.add(fault)
    stored = archive.write(PATH, content(tmp_path), Lease())
    assert stored.md5 == hashlib.md5(DATA).hexdigest()
    assert server.script.used == [fault] * len(server.script.used) != []
    assert server.made == [ITEM]
    item = server.items[ITEM]
    assert list(item.files) == [NAME]
    assert item.replaced == []
    assert b"".join(archive.read(PATH)) == DATA


def test_that_it_asks_us_to_slow_down_is_told_to_the_centre(
    server: ArchiveServer, place: ItemsPlace, tmp_path: Path
) -> None:
    server.script.add(f"PUT * refuse 503 Retry-After=7 {BUSY}")
    lease = Lease()
    Archive(place, ARCHIVE_KEYS, AGENT, lease, patience=PATIENCE).write(
        PATH, content(tmp_path), lease
    )
    (told,) = lease.quotas.demands(0.0)[1]
    assert (told.host, told.retry_after) == (httpx.URL(server.url).netloc.decode(), 7)


def test_no_key_is_logged(
    archive: Archive, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    logging.getLogger().setLevel(logging.INFO)  # as Celery does
    archive.write(PATH, content(tmp_path), Lease())
    assert ARCHIVE_KEYS.key not in caplog.text
    assert ARCHIVE_KEYS.secret not in caplog.text


def test_what_goes_on_failing_is_told_with_the_wait_that_was_asked_for(
    server: ArchiveServer, archive: Archive, tmp_path: Path
) -> None:
    server.script.add(f"PUT * times 9 refuse 503 Retry-After=90 {BUSY}")
    with pytest.raises(StorageError, match="cannot be sent to dfc_census_v1: 503 SlowDown") as told:
        archive.write(PATH, content(tmp_path), Lease())
    assert (told.value.wait, told.value.final) == (90, False)
    assert uploads(server) == PATIENCE.tries
    assert server.made == []


def test_what_it_takes_for_spam_is_sent_once_and_never_again(
    server: ArchiveServer, archive: Archive, tmp_path: Path
) -> None:
    server.habits = Habits(spam=frozenset({ITEM}))
    with pytest.raises(Denied, match=r"appears to be spam.*write to info@archive\.org") as told:
        archive.write(PATH, content(tmp_path), Lease())
    assert told.value.final
    assert uploads(server) == 1


def test_a_wrong_secret_is_told_and_is_final(
    server: ArchiveServer, place: ItemsPlace, tmp_path: Path
) -> None:
    archive = Archive(place, Keys(ARCHIVE_KEYS.key, "wrong-secret"), AGENT, patience=PATIENCE)
    with pytest.raises(Denied, match="SignatureDoesNotMatch") as told:
        archive.write(PATH, content(tmp_path), Lease())
    assert "wrong-secret" not in str(told.value)
    assert "wrong-secret" not in repr(Keys("key", "wrong-secret"))
    assert server.made == []


def test_an_item_of_others_is_not_written_to(
    server: ArchiveServer, archive: Archive, tmp_path: Path
) -> None:
    put(server, ITEM, b"others", "b", Authorization="LOW others:secret")
    with pytest.raises(Taken, match=r"there is an item dfc_census_v1 of others.*another prefix"):
        archive.write(PATH, content(tmp_path), Lease())
    assert list(server.items[ITEM].files) == ["b"]
    assert uploads(server) == 1
    assert list(archive.list()) == []
    assert archive.stat("census/v1/b") is None


@pytest.mark.parametrize("late", [0, 8], ids=["at once", "late"])
def test_other_bytes_that_a_killed_attempt_sent_are_waited_for_and_not_written_over(
    late: int, server: ArchiveServer, archive: Archive, tmp_path: Path
) -> None:
    server.habits = Habits(task_seconds=late)
    put_by_killed(server, DATA[::-1])
    with pytest.raises(Taken, match="is taken"):
        archive.write(PATH, content(tmp_path), Lease())
    assert server.items[ITEM].replaced == []
    assert uploads(server) == 1


def test_what_an_attempt_before_has_sent_meanwhile_is_seen_however_old_the_record_is(
    server: ArchiveServer, place: ItemsPlace, tmp_path: Path
) -> None:
    archive = Archive(place, ARCHIVE_KEYS, AGENT, patience=replace(PATIENCE, look=3600.0))
    assert archive.stat(PATH) is None
    put_by_killed(server, DATA[::-1])
    with pytest.raises(Taken, match="is taken"):
        archive.write(PATH, content(tmp_path), Lease())


def test_what_a_killed_attempt_sent_is_not_sent_again(
    server: ArchiveServer, archive: Archive, tmp_path: Path
) -> None:
    server.habits = Habits(task_seconds=8)
    put_by_killed(server, DATA)
    lease = Lease()
    archive.write(PATH, content(tmp_path), lease)
    assert (uploads(server), lease.bytes_done) == (1, 0)


def test_what_is_not_taken_in_for_long_is_told_and_gone_on_with(
    server: ArchiveServer, place: ItemsPlace, archive: Archive, tmp_path: Path
) -> None:
    server.habits = Habits(task_seconds=1e6)
    hasty = Archive(place, ARCHIVE_KEYS, AGENT, patience=replace(PATIENCE, taken_in=0.05))
    with pytest.raises(StorageError, match="dfc_census_v1 does not list it yet") as told:
        hasty.write(PATH, content(tmp_path), Lease())
    assert not told.value.final
    with pytest.raises(StorageError, match="1 tasks of dfc_census_v1 have run"):
        hasty.write(PATH, content(tmp_path, DATA[::-1]), Lease())
    server.clock = lambda: 1.9e9
    archive.write(PATH, content(tmp_path), Lease())
    assert uploads(server) == 1


def test_what_others_send_meanwhile_is_not_waited_for(
    server: ArchiveServer, archive: Archive, tmp_path: Path
) -> None:
    """Other shards of the version, by other nodes, for hours."""
    server.habits = Habits(task_seconds=8)
    put_by_killed(server, DATA)

    def send(moment: Moment) -> None:
        if moment.phase == "done" and moment.asked.path.startswith("/services/"):
            server.items[ITEM].submit(server.clock() + 8, lambda: None)

    server.watch = send
    archive.write("census/v1/another", content(tmp_path), Lease())
    assert sorted(server.items[ITEM].files) == ["another", NAME]


def test_a_queue_that_stands_still_is_told_at_once(
    server: ArchiveServer, archive: Archive, tmp_path: Path
) -> None:
    tasks = '{"value": {"catalog": [{"task_id": 7, "wait_admin": 2}]}}'
    server.script.add(f"GET /services/* mask 200 '{tasks}'")
    with pytest.raises(StorageError, match=r"failed or was paused.*history/dfc_census_v1"):
        archive.write(PATH, content(tmp_path), Lease())
    assert uploads(server) == 0


def test_a_full_queue_is_waited_for_and_never_run_into(
    server: ArchiveServer, archive: Archive, tmp_path: Path
) -> None:
    server.habits = Habits(task_seconds=6, bucket_ration=1)
    put(server, ITEM, b"x", "other", **{"x-archive-meta-fleet-folder": "census/v1"})
    server.script.add('GET /services/* mask 200 {"value":{"catalog":[]}}'.replace('"', '\\"'))
    archive.write(PATH, content(tmp_path), Lease())
    assert [one.status for one in server.log if one.method == "PUT"] == [200, 200]


def test_a_wrong_md5_of_the_ledger_is_found_out_and_leaves_nothing(
    server: ArchiveServer, archive: Archive, tmp_path: Path
) -> None:
    wrong = replace(content(tmp_path), md5=hashlib.md5(b"?").hexdigest())
    with pytest.raises(Corrupt, match="BadDigest"):
        archive.write(PATH, wrong, Lease())
    assert server.made == []


def test_an_upload_goes_through_another_door_of_the_archive_and_to_nobody_else(
    server: ArchiveServer, archive: Archive, tmp_path: Path
) -> None:
    server.script.add(f"PUT * refuse 307 Location={server.url}/{ITEM}/raw/a%20file.bin?door=2")
    archive.write(PATH, content(tmp_path), Lease())
    assert b"".join(archive.read(PATH)) == DATA
    elsewhere = server.url.replace("127.0.0.1", "localhost")
    server.script.add(f"PUT * times 9 refuse 307 Location={elsewhere}/{ITEM}/b")
    with pytest.raises(StorageError, match=r"it is sent to http://localhost.*, which is not"):
        archive.write("census/v1/b", content(tmp_path), Lease())
    assert not any(one.path == f"/{ITEM}/b" and one.fault is None for one in server.log)


def test_a_download_that_is_sent_elsewhere_or_breaks_off_says_so(
    server: ArchiveServer, archive: Archive, tmp_path: Path
) -> None:
    archive.write(PATH, content(tmp_path), Lease())
    server.script.add("GET /21/* cut 1000")
    with pytest.raises(StorageError, match=r"raw/a file\.bin cannot be read"):
        list(archive.read(PATH))
    server.script.add("GET /21/* refuse 206 0123456789")
    with pytest.raises(StorageError, match="it came from another byte on"):
        list(archive.read(PATH, 10, 10))
    server.script.add("GET /download/* refuse 302 Location=http://169.254.169.254/latest")
    with pytest.raises(StorageError, match="which is not"):
        list(archive.read(PATH))
    server.script.add(f"GET /download/* times 9 refuse 302 Location={server.url}/download/x/y")
    with pytest.raises(StorageError, match="without end"):
        list(archive.read(PATH))


def test_a_server_that_ignores_ranges_is_read_from_the_byte_asked_for(
    server: ArchiveServer, archive: Archive, tmp_path: Path
) -> None:
    archive.write(PATH, content(tmp_path), Lease())
    plain = f"{server.url}/{ITEM}/raw/a%20file.bin"  # the S3-like API
    server.script.add(f"GET /download/* times 2 refuse 302 Location={plain}")
    assert b"".join(archive.read(PATH, 70_000, 70_000)) == DATA[70_000:140_000]
    assert b"".join(archive.read(PATH, 2_999_990)) == DATA[2_999_990:]


def test_what_the_archive_makes_itself_is_neither_listed_nor_written(
    server: ArchiveServer, archive: Archive, tmp_path: Path
) -> None:
    archive.write("census/v1/a.pdf", content(tmp_path), Lease())
    put(server, ITEM, b"derive", "b.pdf", **{"x-archive-queue-derive": "1"})
    assert any(file.source == "derivative" for file in server.items[ITEM].files.values())
    later = Archive(archive._place, None, AGENT, patience=PATIENCE)
    assert [one.path for one in later.list()] == ["census/v1/a.pdf", "census/v1/b.pdf"]
    assert later.stat(f"census/v1/{ITEM}_meta.xml") is None
    for name in (f"{ITEM}_meta.xml", "history/files/a", f"{ITEM}_archive.torrent"):
        assert is_own(ITEM, name)
        with pytest.raises(Unfit, match="which the Archive makes itself"):
            archive.write(f"census/v1/{name}", content(tmp_path), Lease())


@pytest.mark.parametrize(
    "answer",
    [
        '{"files": 3}',
        '{"files": [3]}',
        '{"files": [{"source": "original", "name": "a"}]}',
        '{"files": [{"source": "original", "name": "a", "size": "x", "md5": "y"}]}',
        '{"metadata": []}',
        '"text"',
        "[" * 100_000,
    ],
)
def test_a_record_that_is_none_is_told(
    answer: str, server: ArchiveServer, archive: Archive
) -> None:
    quoted = answer.replace('"', '\\"')
    server.script.add(f"GET /metadata/* times 9 mask 200 {quoted}")
    with pytest.raises(StorageError, match="the record of dfc_census_v1"):
        archive.stat(PATH)


def test_what_is_too_large_is_refused_before_anything_is_asked(
    server: ArchiveServer, archive: Archive, tmp_path: Path
) -> None:
    with pytest.raises(Unfit, match="takes at most"):
        archive.write(PATH, Content(tmp_path / "none", 10**12, "0" * 64), Lease())
    assert server.log == []


def test_an_attempt_that_is_to_end_sends_nothing_more(
    server: ArchiveServer, archive: Archive, tmp_path: Path
) -> None:
    class Ending(Lease):
        checks = 0

        def check(self) -> None:
            self.checks += any(one.path == "/" for one in server.log)  # it has room: the body next
            if self.checks > 2:
                raise Stopped("the centre said stop")

    with pytest.raises(Stopped):
        archive.write(PATH, content(tmp_path), Ending())
    assert server.made == []


def test_without_keys_it_is_read_and_not_written(
    server: ArchiveServer, place: ItemsPlace, archive: Archive, tmp_path: Path
) -> None:
    archive.write(PATH, content(tmp_path), Lease())
    anybody: Storage = Archive(place, None, AGENT, patience=PATIENCE)
    assert anybody.stat(PATH) == Stored(
        PATH, len(DATA), None, *(hashlib.md5(DATA).hexdigest(),) * 2
    )
    with pytest.raises(Denied, match="without keys"):
        anybody.write("census/v1/b", content(tmp_path), Lease())
    with pytest.raises(Denied, match="without keys"):
        anybody.remove(PATH)


@pytest.mark.slow
def test_an_upload_killed_at_any_boundary_is_completed_by_the_next(tmp_path: Path) -> None:
    figures = archive_upload(tmp_path, 3_000_000)
    assert figures.kills >= 15
    assert (figures.incomplete, figures.corrupt, figures.double, figures.left) == (0, 0, 0, 0)
