import base64
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from fleet.rehearsal.s3.server import S3Server
from fleet.rehearsal.s3.sigv4 import Key
from fleet.rehearsal.s3.strictness import MIB, Strictness
from tests.s3_support import Signed, code, completion, element, elements, path

PART = 1000
RULES = Strictness(least_part=PART, most_part=5 * PART, most_parts=20, most_object=15 * PART)


@pytest.fixture
def s3(tmp_path: Path) -> Iterator[S3Server]:
    with S3Server(tmp_path / "bytes", ["bucket"], {"id": Key("secret")}, RULES) as server:
        yield server


@pytest.fixture
def client(s3: S3Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=s3.url, auth=Signed()) as client:
        yield client


class Uploading:
    """One multipart upload of a key."""

    def __init__(self, client: httpx.Client, key: str = "k", **headers: str) -> None:
        self.client, self.url = client, path(key)
        self.id = element(client.post(f"{self.url}?uploads", headers=headers), "UploadId")
        self.etags: dict[int, str] = {}

    def put(self, number: int, content: bytes, **headers: str) -> httpx.Response:
        query = {"partNumber": str(number), "uploadId": self.id}
        answer = self.client.put(self.url, params=query, content=content, headers=headers)
        self.etags[number] = answer.headers.get("etag", "")
        return answer

    def complete(self, body: str | None = None, **headers: str) -> httpx.Response:
        body = completion(self.etags) if body is None else body
        return self.client.post(
            self.url, params={"uploadId": self.id}, content=body, headers=headers
        )


def upload(client: httpx.Client, *sizes: int) -> Uploading:
    uploading = Uploading(client)
    for number, size in enumerate(sizes, 1):
        assert uploading.put(number, bytes([number]) * size).status_code == 200
    return uploading


def test_parts_become_one_object(s3: S3Server, client: httpx.Client) -> None:
    uploading = Uploading(client, **{"Content-Type": "text/plain"})
    for number in (3, 1, 2):
        uploading.put(number, bytes([number]) * (PART if number < 3 else 7))
    uploading.etags = dict(sorted(uploading.etags.items()))
    parts = client.get(uploading.url, params={"uploadId": uploading.id, "max-parts": "2"})
    assert (elements(parts, "PartNumber"), elements(parts, "Size")) == (["1", "2"], ["1000"] * 2)
    assert element(parts, "NextPartNumberMarker") == "2"
    assert elements(client.get("/bucket?uploads"), "UploadId") == [uploading.id]

    done = uploading.complete()
    body = b"\1" * PART + b"\2" * PART + b"\3" * 7
    md5s = b"".join(hashlib.md5(bytes([n]) * size).digest() for n, size in ((1, 1000), (2, 1000)))
    md5s += hashlib.md5(b"\3" * 7).digest()
    assert element(done, "ETag") == f'"{hashlib.md5(md5s).hexdigest()}-3"'
    found = client.get(uploading.url, headers={"Range": f"bytes={PART - 1}-{2 * PART}"})
    assert found.content == body[PART - 1 : 2 * PART + 1]
    assert found.headers["content-type"] == "text/plain"
    assert s3.buckets["bucket"].objects["k"].read() == body
    assert s3.buckets["bucket"].uploads == {}
    assert code(uploading.complete()) == (404, "NoSuchUpload")


def test_an_aborted_or_stale_upload_is_no_more(tmp_path: Path) -> None:
    now = [1_800_000_000.0]
    keys = {"id": Key("secret")}
    with (
        S3Server(tmp_path / "bytes", ["bucket"], keys, RULES, clock=lambda: now[0]) as s3,
        httpx.Client(base_url=s3.url, auth=Signed(at=now[0])) as client,
    ):
        uploading = upload(client, PART)
        gone = client.delete(uploading.url, params={"uploadId": uploading.id})
        assert gone.status_code == 204
        assert code(uploading.put(1, b"1")) == (404, "NoSuchUpload")
        stale = upload(client, PART)
        now[0] += RULES.upload_age + 1
        client.auth = Signed(at=now[0])
        assert elements(client.get("/bucket?uploads"), "UploadId") == []
        assert code(stale.complete()) == (404, "NoSuchUpload")
        assert s3.buckets["bucket"].objects == {}


@pytest.mark.parametrize(
    ("sizes", "refusal"),
    [
        ((PART - 1, PART), (400, "EntityTooSmall")),
        ((2 * PART, PART, 2 * PART), (400, "InvalidPart")),
        ((PART, PART, PART + 1), (400, "InvalidPart")),
        ((5 * PART, 5 * PART, 5 * PART, 1), (400, "EntityTooLarge")),
        ((PART, PART, PART), (200, "")),
        ((PART, PART, 0), (200, "")),
        ((1,), (200, "")),
    ],
)
def test_parts_are_large_enough_and_equal(
    client: httpx.Client, sizes: tuple[int, ...], refusal: tuple[int, str]
) -> None:
    assert code(upload(client, *sizes).complete()) == refusal


def test_elsewhere_parts_may_differ(s3: S3Server, client: httpx.Client) -> None:
    s3.strictness = Strictness(least_part=PART, equal_parts=False)
    assert upload(client, PART, 2 * PART, PART + 1).complete().status_code == 200


def test_limits_of_a_part_hold(client: httpx.Client) -> None:
    uploading = Uploading(client)
    assert code(uploading.put(21, b"1")) == (400, "InvalidArgument")
    assert code(uploading.put(0, b"1")) == (400, "InvalidArgument")
    assert code(uploading.put(1, bytes(5 * PART + 1))) == (400, "EntityTooLarge")
    assert code(client.put(path("k"), content=bytes(5 * PART + 1))) == (400, "EntityTooLarge")
    other = client.put(path("k"), params={"partNumber": "1", "uploadId": "none"}, content=b"1")
    assert code(other) == (404, "NoSuchUpload")


def test_what_completes_an_upload_names_its_parts(client: httpx.Client) -> None:
    uploading = upload(client, PART, PART)
    one, two = uploading.etags.values()
    wrong = {
        completion({1: one, 2: one}): (400, "InvalidPart"),
        completion({1: one, 3: two}): (400, "InvalidPart"),
        completion({2: two, 1: one}): (400, "InvalidPartOrder"),
        completion({}): (400, "MalformedXML"),
        "<CompleteMultipartUpload": (400, "MalformedXML"),
    }
    for body, refusal in wrong.items():
        assert code(uploading.complete(body)) == refusal
    assert uploading.complete().status_code == 200


def test_a_completion_has_conditions_as_a_put_has(s3: S3Server, client: httpx.Client) -> None:
    client.put(path("k"), content=b"there")
    bucket = s3.buckets["bucket"]
    late = upload(client, PART)
    refused = late.complete(**{"If-None-Match": "*"})
    assert code(refused) == (412, "PreconditionFailed")
    assert late.id in bucket.uploads
    bucket.contested.add("k")
    etag = bucket.objects["k"].etag
    assert code(late.complete(**{"If-Match": etag})) == (409, "ConditionalRequestConflict")
    assert late.id not in bucket.uploads
    assert bucket.objects["k"].read() == b"there"
    assert upload(client, PART).complete(**{"If-Match": etag}).status_code == 200


def test_checksums_of_parts_are_required_once_announced(client: httpx.Client) -> None:
    digest = base64.b64encode(hashlib.sha256(b"1").digest()).decode()
    uploading = Uploading(client, **{"x-amz-checksum-algorithm": "SHA256"})
    assert code(uploading.put(1, b"1")) == (400, "InvalidRequest")
    assert uploading.put(1, b"1", **{"x-amz-checksum-sha256": digest}).status_code == 200
    assert code(uploading.complete()) == (400, "InvalidRequest")
    body = completion(uploading.etags)
    summed = f"<ChecksumSHA256>{digest}</ChecksumSHA256></Part>"
    done = uploading.complete(body.replace("</Part>", summed))
    composite = base64.b64encode(hashlib.sha256(hashlib.sha256(b"1").digest()).digest()).decode()
    assert done.headers["x-amz-checksum-sha256"] == f"{composite}-1"
    full = {"x-amz-checksum-algorithm": "CRC64NVME", "x-amz-checksum-type": "FULL_OBJECT"}
    assert code(client.post(path("k") + "?uploads", headers=full)) == (501, "NotImplemented")


def test_a_lost_answer_leaves_the_object(s3: S3Server, client: httpx.Client) -> None:
    s3.script.add("POST /bucket/k?uploadId=* lose")
    uploading = upload(client, PART, 7)
    with pytest.raises(httpx.TransportError):
        uploading.complete()
    assert code(uploading.complete()) == (404, "NoSuchUpload")
    assert client.head(path("k")).headers["content-length"] == str(PART + 7)


# The same server, as the client that Fleet uses sees it.


def test_parts_may_be_copied_from_what_is_there(s3: S3Server, client: httpx.Client) -> None:
    data = bytes(range(256)) * 5
    client.put(path("source"), content=data)
    source, uploading = {"x-amz-copy-source": path("source")}, Uploading(client)
    for number, span in enumerate((f"0-{PART - 1}", f"{PART}-{len(data) - 1}"), 1):
        made = uploading.put(number, b"", **source, **{"x-amz-copy-source-range": f"bytes={span}"})
        uploading.etags[number] = element(made, "ETag")
    assert uploading.complete().status_code == 200
    assert s3.buckets["bucket"].objects["k"].read() == data
    for span in (f"bytes=0-{len(data)}", "bytes=5-", "0-5"):
        beyond = source | {"x-amz-copy-source-range": span}
        assert code(Uploading(client).put(1, b"", **beyond)) == (400, "InvalidArgument")


@pytest.fixture
def store(s3: S3Server) -> Any:
    obstore = pytest.importorskip("obstore.store", reason="obstore is not installed")
    s3.strictness = Strictness()

    def make(**options: Any) -> Any:
        return obstore.S3Store(
            "bucket",
            endpoint=s3.url,
            region="auto",
            **{"access_key_id": "id", "secret_access_key": "secret", **options},
            client_options={"allow_http": True},
            retry_config={"max_retries": 0},
        )

    return make


@pytest.mark.parametrize("options", [{}, {"checksum_algorithm": "sha256"}])
def test_obstore_writes_reads_lists_and_deletes(
    s3: S3Server, store: Any, options: dict[str, str]
) -> None:
    import obstore  # noqa: PLC0415

    bucket = store(**options)
    whole = bytes(range(256)) * (11 * MIB // 256)
    obstore.put(bucket, "a b/é+%~", iter([whole[:MIB], whole[MIB:]]), chunk_size=5 * MIB)
    assert bytes(obstore.get(bucket, "a b/é+%~").bytes()) == whole
    assert bytes(obstore.get_range(bucket, "a b/é+%~", start=5, length=9)) == whole[5:14]
    assert obstore.head(bucket, "a b/é+%~")["e_tag"].endswith('-3"')
    obstore.put(bucket, "k", b"1", mode="create", use_multipart=False)
    with pytest.raises(obstore.exceptions.AlreadyExistsError):
        obstore.put(bucket, "k", b"1", mode="create", use_multipart=False)
    update = {"e_tag": obstore.head(bucket, "k")["e_tag"]}
    obstore.put(bucket, "k", b"2", mode=update, use_multipart=False)
    with pytest.raises(obstore.exceptions.PreconditionError):
        obstore.put(bucket, "k", b"3", mode=update, use_multipart=False)
    obstore.copy(bucket, "k", "l")
    assert [found["path"] for page in obstore.list(bucket) for found in page] == [
        "a b/é+%~",
        "k",
        "l",
    ]
    obstore.delete(bucket, ["k", "l"])
    assert s3.buckets["bucket"].keys == ["a b/é+%~"]


def test_obstore_is_told_of_a_wrong_secret_and_an_expired_token(s3: S3Server, store: Any) -> None:
    import obstore  # noqa: PLC0415

    with pytest.raises(obstore.exceptions.PermissionDeniedError, match="SignatureDoesNotMatch"):
        obstore.put(store(secret_access_key="wrong"), "k", b"1", use_multipart=False)
    s3.keys["id"] = Key("secret", token="token", expires=0.0)
    with pytest.raises(obstore.exceptions.BaseError, match="ExpiredToken"):
        obstore.put(store(session_token="token"), "k", b"1", use_multipart=False)
