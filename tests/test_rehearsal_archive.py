import base64
import hashlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from fleet.rehearsal.archive.server import Archive, Habits
from tests.s3_support import code, element

BODY = bytes(range(256)) * 100
MAKE = {"x-archive-auto-make-bucket": "1", "x-archive-queue-derive": "0"}


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def archive(tmp_path: Path, clock: Clock) -> Iterator[Archive]:
    keys = {"key": "secret", "other": "secret"}
    with Archive(tmp_path / "bytes", keys, Habits(spam=frozenset({"buy-now"})), clock) as archive:
        yield archive


@pytest.fixture
def client(archive: Archive) -> Iterator[httpx.Client]:
    headers = {"Authorization": "LOW key:secret"}
    with httpx.Client(base_url=archive.url, headers=headers) as client:
        yield client


def put(client: httpx.Client, path: str, content: bytes = BODY, **headers: str) -> httpx.Response:
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.put(path, content=content, headers={**MAKE, **given})


def record(client: httpx.Client, identifier: str = "item-1") -> Any:
    return client.get(f"/metadata/{identifier}").json()


def files(client: httpx.Client, identifier: str = "item-1") -> dict[str, dict[str, str]]:
    return {file["name"]: file for file in record(client, identifier)["files"]}


def test_an_upload_makes_an_item_whose_record_lists_its_files(
    archive: Archive, client: httpx.Client
) -> None:
    made = put(client, "/item-1/folder/été.csv", x_archive_size_hint="25600")
    assert made.status_code == 200
    found = files(client)
    assert list(found) == ["folder/été.csv", "item-1_meta.xml", "item-1_files.xml"]
    entry = found["folder/été.csv"]
    assert (entry["size"], entry["source"]) == (str(len(BODY)), "original")
    assert entry["md5"] == hashlib.md5(BODY).hexdigest()
    assert entry["sha1"] == hashlib.sha1(BODY).hexdigest()
    assert found["item-1_files.xml"].keys() == {"name", "source", "format", "md5", "summation"}
    assert record(client)["files_count"] == 3
    assert archive.made == ["item-1"]
    assert archive.items["item-1"].size_hint == len(BODY)
    assert record(client, "nothing") == {}


def test_metadata_comes_in_headers(archive: Archive, client: httpx.Client) -> None:
    put(
        client,
        "/item-1/a",
        **{
            "x-archive-meta-title": "uri(Recensement%20%C3%A9t%C3%A9)",
            "x-archive-meta02-subject": "roads",
            "x-archive-meta01-subject": "census",
            "x-archive-meta-original--url": "https://example.org/",
        },
    )
    put(client, "/item-1/b", **{"x-archive-meta-title": "too late"})
    metadata = record(client)["metadata"]
    assert metadata["title"] == "Recensement été"
    assert metadata["subject"] == ["census", "roads"]
    assert metadata["original_url"] == "https://example.org/"
    assert (metadata["mediatype"], metadata["collection"]) == ("data", "opensource")
    again = {"x-archive-meta-title": "new", "x-archive-ignore-preexisting-bucket": "1"}
    put(client, "/item-1/b", **again)
    assert record(client)["metadata"]["title"] == "new"
    meta = client.get("/download/item-1/item-1_meta.xml", follow_redirects=True)
    assert "<title>new</title>" in meta.text


@pytest.mark.parametrize(
    ("path", "headers", "refusal"),
    [
        ("/item-1/a", {"Authorization": ""}, (403, "AccessDenied")),
        ("/item-1/a", {"Authorization": "LOW nobody:secret"}, (403, "InvalidAccessKeyId")),
        ("/item-1/a", {"Authorization": "LOW key:wrong"}, (403, "SignatureDoesNotMatch")),
        ("/item-1/a", {"x-archive-auto-make-bucket": "0"}, (404, "NoSuchBucket")),
        ("/it/a", {}, (400, "InvalidBucketName")),
        ("/-item/a", {}, (400, "InvalidBucketName")),
        ("/it%20em/a", {}, (400, "InvalidBucketName")),
        (f"/{'i' * 101}/a", {}, (400, "InvalidBucketName")),
        ("/item-1/a", {"Content-MD5": hashlib.md5(b"other").hexdigest()}, (400, "BadDigest")),
        ("/item-1/a", {"Content-MD5": "?"}, (400, "InvalidDigest")),
    ],
)
def test_what_is_refused_makes_no_item(
    archive: Archive,
    client: httpx.Client,
    path: str,
    headers: dict[str, str],
    refusal: tuple[int, str],
) -> None:
    assert code(client.put(path, content=BODY, headers={**MAKE, **headers})) == refusal
    assert archive.made == []


def test_a_digest_is_checked_in_either_form(archive: Archive, client: httpx.Client) -> None:
    digest = hashlib.md5(BODY)
    for said in (digest.hexdigest(), base64.b64encode(digest.digest()).decode()):
        assert put(client, "/item-1/a", content_md5=said).status_code == 200
        archive.script.add("PUT * damage")
        assert code(put(client, "/item-1/a", content_md5=said)) == (400, "BadDigest")
    assert archive.items["item-1"].replaced == []


def test_there_is_no_chunked_transfer(archive: Archive, client: httpx.Client) -> None:
    refused = client.put("/item-1/a", content=iter([BODY]), headers=MAKE)
    assert code(refused) == (501, "NotImplemented")
    assert archive.items == {}


def test_two_writers_of_one_item_make_one_item(archive: Archive, client: httpx.Client) -> None:
    arrived = threading.Barrier(2)
    archive.watch = lambda moment: (
        arrived.wait(10) if moment.phase == "received" and moment.asked.method == "PUT" else None
    )
    headers = {"Authorization": "LOW key:secret", **MAKE}
    writers = [
        threading.Thread(
            target=lambda name=name: httpx.put(
                f"{archive.url}/item-1/{name}", content=name.encode(), headers=headers
            )
        )
        for name in ("a", "b")
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert archive.made == ["item-1"]
    assert {"a", "b"} <= files(client).keys()
    archive.watch = lambda _: None
    other = put(client, "/item-1/c", authorization="LOW other:secret")
    assert code(other) == (403, "AccessDenied")


def test_an_overwrite_is_noted_unless_the_old_version_is_kept(
    archive: Archive, client: httpx.Client
) -> None:
    put(client, "/item-1/a", b"1")
    put(client, "/item-1/a", b"1")
    assert archive.items["item-1"].replaced == []
    put(client, "/item-1/a", b"2", x_archive_keep_old_version="1")
    put(client, "/item-1/a", b"3", x_archive_keep_old_version="1")
    kept = [client.get(f"/item-1/history/files/a.~{number}~").content for number in (1, 2)]
    assert kept == [b"1", b"2"]
    put(client, "/item-1/a", b"4")
    digests = [hashlib.md5(data).hexdigest() for data in (b"3", b"4")]
    assert archive.items["item-1"].replaced == [("a", *digests)]


def test_a_file_is_deleted_but_no_item(archive: Archive, client: httpx.Client) -> None:
    put(client, "/item-1/a.pdf", x_archive_queue_derive="1")
    assert files(client)["a_djvu.txt"]["source"] == "derivative"
    assert code(client.delete("/item-1")) == (405, "MethodNotAllowed")
    gone = client.delete("/item-1/a.pdf", headers={"x-archive-cascade-delete": "1"})
    assert gone.status_code == 204
    assert not {"a.pdf", "a_djvu.txt"} & files(client).keys()
    assert code(client.delete("/item-1/a.pdf")) == (404, "NoSuchKey")


def test_the_archives_own_torrent_goes_stale(archive: Archive, client: httpx.Client) -> None:
    put(client, "/item-1/a", x_archive_queue_derive="1")
    torrent = files(client)["item-1_archive.torrent"]
    assert (torrent["source"], torrent["format"]) == ("metadata", "Archive BitTorrent")
    put(client, "/item-1/b")
    assert files(client)["item-1_archive.torrent"] == torrent


def test_an_upload_is_seen_only_once_its_task_has_run(
    archive: Archive, client: httpx.Client, clock: Clock
) -> None:
    archive.habits = Habits(task_seconds=60)
    assert put(client, "/item-1/a").status_code == 200
    assert record(client) == {}
    assert code(client.get("/download/item-1/a")) == (404, "NoSuchKey")
    queue = "/services/tasks.php?identifier=item-1&summary=1"
    assert client.get(queue).json()["value"]["summary"]["queued"] == 1
    listed = client.get(f"{queue}&catalog=1").json()["value"]["catalog"]
    assert [one["task_id"] for one in listed] == [0]
    clock.now += 30
    put(client, "/item-1/b")
    clock.now += 30
    found = record(client)
    assert found["pending_tasks"] is True
    assert "a" in files(client)
    assert "b" not in files(client)
    clock.now += 30
    assert "pending_tasks" not in record(client)
    assert "b" in files(client)
    assert client.get(queue).json()["value"]["summary"]["queued"] == 0
    put(client, "/item-1/c")
    (task,) = client.get(f"{queue}&catalog=1").json()["value"]["catalog"]
    assert task["task_id"] == 2


def test_a_full_queue_is_told_of_before_and_refuses(
    archive: Archive, client: httpx.Client, clock: Clock
) -> None:
    archive.habits = Habits(task_seconds=60, bucket_ration=2)
    limit = "/?check_limit=1&accesskey=key&bucket=item-1"
    for name in ("a", "b"):
        assert client.get(limit).json()["over_limit"] == 0
        put(client, f"/item-1/{name}")
    full = client.get(limit).json()
    assert (full["over_limit"], full["detail"]["bucket_tasks_queued"]) == (1, 2)
    assert code(put(client, "/item-1/c")) == (503, "SlowDown")
    assert put(client, "/item-2/c").status_code == 200
    clock.now += 60
    assert client.get(limit).json()["over_limit"] == 0
    assert put(client, "/item-1/c").status_code == 200
    assert "key" not in [value for entry in archive.log for _, value in entry.query]


def test_what_looks_like_spam_is_refused_for_ever(archive: Archive, client: httpx.Client) -> None:
    for _ in range(2):
        refused = put(client, "/buy-now/a")
        assert code(refused) == (503, "SlowDown")
        assert "appears to be spam" in element(refused, "Resource")
    assert archive.made == []


def test_a_download_is_redirected_to_a_node_that_serves_ranges(
    archive: Archive, client: httpx.Client
) -> None:
    put(client, "/item-1/folder/a b.csv")
    sent = client.get("/download/item-1/folder/a b.csv")
    assert sent.status_code == 302
    assert sent.headers["location"] == f"{archive.url}/21/items/item-1/folder/a%20b.csv"
    assert record(client)["dir"] == "/21/items/item-1"
    part = client.get(sent.headers["location"], headers={"Range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, BODY[10:20])
    whole = client.get("/item-1/folder/a b.csv", headers={"Range": "bytes=10-19"})
    assert (whole.status_code, whole.content) == (200, BODY)
    assert code(client.get("/download/item-1/none")) == (404, "NoSuchKey")


def test_an_upload_may_be_sent_to_another_door(archive: Archive, client: httpx.Client) -> None:
    archive.script.add(f"PUT /item-1/a refuse 307 Location={archive.url}/item-1/a?door=2")
    done = client.put("/item-1/a", content=BODY, headers=MAKE, follow_redirects=True)
    assert [answer.status_code for answer in (*done.history, done)] == [307, 200]
    assert archive.items["item-1"].files["a"].size == len(BODY)


def test_a_lost_answer_leaves_the_item(archive: Archive, client: httpx.Client) -> None:
    archive.script.add("PUT /item-1/* lose")
    with pytest.raises(httpx.TransportError):
        put(client, "/item-1/a")
    assert put(client, "/item-1/a").status_code == 200
    assert archive.made == ["item-1"]
    assert archive.items["item-1"].replaced == []


def test_items_are_found_by_how_their_names_begin_a_page_at_a_time(
    archive: Archive, client: httpx.Client
) -> None:
    for name in ("dfc_a", "dfc_b", "other", "dfc_c"):
        put(client, f"/{name}/x")
    query = {"q": "identifier:dfc*", "fields": "identifier", "count": "2"}
    first = client.get("/services/search/v1/scrape", params=query).json()
    assert [one["identifier"] for one in first["items"]] == ["dfc_a", "dfc_b"]
    query["cursor"] = first["cursor"]
    last = client.get("/services/search/v1/scrape", params=query).json()
    assert [one["identifier"] for one in last["items"]] == ["dfc_c"]
    assert "cursor" not in last
