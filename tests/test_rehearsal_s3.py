import base64
import hashlib
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from fleet.rehearsal.s3.server import S3Server
from fleet.rehearsal.s3.sigv4 import Key
from fleet.rehearsal.s3.strictness import AWS, R2, Strictness
from tests.s3_support import UNSIGNED, Signed, code, element, elements, path

BODY = bytes(range(256)) * 100


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def s3(tmp_path: Path, clock: Clock) -> Iterator[S3Server]:
    keys = {
        "id": Key("secret"),
        "session": Key("secret", token="token", expires=clock.now + 60),
        "scoped": Key("secret", reach="bucket/ours/"),
    }
    server = S3Server(tmp_path / "bytes", ["bucket", "open"], keys, Strictness(), clock)
    with server:
        yield server


@pytest.fixture
def client(s3: S3Server, clock: Clock) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=s3.url, auth=Signed(at=clock.now)) as client:
        yield client


def b64(digest: bytes) -> str:
    return base64.b64encode(digest).decode()


def md5(data: bytes) -> str:
    return b64(hashlib.md5(data).digest())


def test_an_object_is_put_read_and_deleted(s3: S3Server, client: httpx.Client) -> None:
    key = "a b/é+%~/c?.txt"
    headers = {"Content-Type": "text/plain", "x-amz-meta-note": "kept", "Content-MD5": md5(BODY)}
    put = client.put(path(key), content=BODY, headers=headers)
    etag = f'"{hashlib.md5(BODY).hexdigest()}"'
    assert (put.status_code, put.headers["etag"]) == (200, etag)
    assert s3.buckets["bucket"].objects[key].read() == BODY
    head = client.head(path(key))
    assert (head.headers["content-length"], head.headers["etag"]) == (str(len(BODY)), etag)
    assert (head.headers["x-amz-meta-note"], head.headers["content-type"]) == ("kept", "text/plain")
    part = client.get(path(key), headers={"Range": "bytes=10-19", "If-Match": etag})
    assert (part.status_code, part.content) == (206, BODY[10:20])
    assert part.headers["content-range"] == f"bytes 10-19/{len(BODY)}"
    assert code(client.get(path(key), headers={"If-Match": '"other"'}))[0] == 412
    assert client.get(path(key), headers={"If-None-Match": etag}).status_code == 304
    beyond = client.get(path(key), headers={"Range": f"bytes={len(BODY)}-"})
    assert code(beyond) == (416, "InvalidRange")
    assert client.delete(path(key)).status_code == 204
    assert client.delete(path(key)).status_code == 204
    assert code(client.get(path(key))) == (404, "NoSuchKey")
    assert code(client.get(path(key, "nowhere"))) == (404, "NoSuchBucket")


def test_who_signs_wrongly_is_not_let_in(s3: S3Server, client: httpx.Client, clock: Clock) -> None:
    def put(**how: str | float) -> tuple[int, str]:
        auth = Signed(**{"at": clock.now, **how})
        return code(client.put(path("k"), content=BODY, auth=auth))

    assert put(secret="wrong") == (403, "SignatureDoesNotMatch")
    assert put(key="nobody") == (403, "InvalidAccessKeyId")
    assert put(at=clock.now - 901) == (403, "RequestTimeTooSkewed")
    assert put(key="session") == (400, "InvalidToken")
    assert put(key="session", token="other") == (400, "InvalidToken")
    assert put(key="session", token="token") == (200, "")
    clock.now += 60
    assert put(key="session", token="token") == (400, "ExpiredToken")
    assert code(httpx.put(s3.url + path("k"), content=BODY)) == (403, "AccessDenied")
    odd = httpx.put(s3.url + path("k"), headers={"Authorization": "AWS id:signature"})
    assert code(odd) == (400, "AuthorizationHeaderMalformed")
    assert len(s3.buckets["bucket"].written) == 1


def test_a_header_added_on_the_way_is_noticed(
    s3: S3Server, client: httpx.Client, clock: Clock
) -> None:
    signed = Signed(at=clock.now)
    request = client.build_request("PUT", path("k"), content=BODY)
    next(signed.auth_flow(request))
    request.headers["x-amz-meta-note"] = "smuggled"
    assert code(client.send(request, auth=lambda same: same)) == (403, "AccessDenied")


def test_scoped_credentials_reach_no_further(client: httpx.Client, clock: Clock) -> None:
    scoped = Signed("scoped", at=clock.now)
    assert client.put(path("ours/k"), content=BODY, auth=scoped).status_code == 200
    assert code(client.put(path("theirs"), content=BODY, auth=scoped)) == (403, "AccessDenied")
    assert code(client.get("/bucket?list-type=2", auth=scoped)) == (403, "AccessDenied")
    listed = client.get("/bucket?list-type=2&prefix=ours/", auth=scoped)
    assert elements(listed, "Key") == ["ours/k"]


@pytest.mark.parametrize(
    ("headers", "refusal"),
    [
        ({"Content-MD5": md5(b"other")}, (400, "BadDigest")),
        ({"Content-MD5": "not base64"}, (400, "InvalidDigest")),
        ({"Content-MD5": b64(b"short")}, (400, "InvalidDigest")),
        ({"x-amz-content-sha256": "0" * 64}, (400, "XAmzContentSHA256Mismatch")),
        ({"x-amz-checksum-sha256": b64(bytes(32))}, (400, "BadDigest")),
        ({"x-amz-checksum-crc32": b64(bytes(4))}, (400, "BadDigest")),
        ({"x-amz-checksum-crc64nvme": b64(bytes(8))}, (501, "NotImplemented")),
        (
            {"x-amz-content-sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER"},
            (501, "NotImplemented"),
        ),
        ({"x-amz-trailer": "x-amz-checksum-crc32"}, (501, "NotImplemented")),
    ],
)
def test_a_body_that_is_not_what_it_is_said_to_be_is_refused(
    s3: S3Server, client: httpx.Client, headers: dict[str, str], refusal: tuple[int, str]
) -> None:
    assert code(client.put(path("k"), content=BODY, headers=headers)) == refusal
    assert s3.buckets["bucket"].objects == {}
    assert list(s3.folder.iterdir()) == []


def test_checksums_are_checked_and_told_again(client: httpx.Client) -> None:
    headers = {
        "x-amz-content-sha256": UNSIGNED,
        "x-amz-checksum-sha256": b64(hashlib.sha256(BODY).digest()),
        "x-amz-checksum-crc32": b64(zlib.crc32(BODY).to_bytes(4, "big")),
    }
    put = client.put(path("k"), content=BODY, headers=headers)
    asked = client.head(path("k"), headers={"x-amz-checksum-mode": "ENABLED"})
    for answer in (put, asked):
        assert answer.headers["x-amz-checksum-sha256"] == headers["x-amz-checksum-sha256"]
        assert answer.headers["x-amz-checksum-crc32"] == headers["x-amz-checksum-crc32"]
    assert "x-amz-checksum-sha256" not in client.head(path("k")).headers


def test_bytes_damaged_on_the_way_are_noticed(s3: S3Server, client: httpx.Client) -> None:
    s3.script.add("PUT * damage")
    assert code(client.put(path("k"), content=BODY)) == (400, "XAmzContentSHA256Mismatch")


def test_a_condition_decides_whether_an_object_is_written(
    s3: S3Server, client: httpx.Client
) -> None:
    def put(content: bytes, **condition: str) -> tuple[int, str]:
        return code(client.put(path("k"), content=content, headers=condition))

    bucket = s3.buckets["bucket"]
    assert put(b"1", **{"If-Match": '"any"'}) == (404, "NoSuchKey")
    assert put(b"1", **{"If-None-Match": "*"}) == (200, "")
    assert put(b"2", **{"If-None-Match": "*"}) == (412, "PreconditionFailed")
    etag = bucket.objects["k"].etag
    assert put(b"3", **{"If-Match": '"other"'}) == (412, "PreconditionFailed")
    bucket.contested.add("k")
    assert put(b"3", **{"If-Match": etag}) == (409, "ConditionalRequestConflict")
    assert bucket.objects["k"].read() == b"1"
    assert put(b"3", **{"If-Match": etag}) == (200, "")
    assert [key for key, _ in bucket.written] == ["k", "k"]


def test_a_key_takes_one_write_a_second(s3: S3Server, client: httpx.Client, clock: Clock) -> None:
    s3.strictness = R2
    assert client.put(path("k"), content=b"1").status_code == 200
    clock.now += 0.9
    assert code(client.put(path("k"), content=b"2")) == (429, "SlowDown")
    assert client.put(path("other"), content=b"2").status_code == 200
    clock.now += 0.1
    assert client.put(path("k"), content=b"2").status_code == 200
    s3.strictness = replace(AWS, seconds_a_write=1.0)
    assert code(client.put(path("k"), content=b"3")) == (503, "SlowDown")


def test_an_object_is_copied_where_it_lies(s3: S3Server, client: httpx.Client) -> None:
    client.put(path("é"), content=BODY, headers={"x-amz-meta-note": "kept"})
    copied = client.put(path("k"), headers={"x-amz-copy-source": path("é")})
    assert element(copied, "ETag").strip('"') == hashlib.md5(BODY).hexdigest()
    client.delete(path("é"))
    answer = client.get(path("k"))
    assert (answer.content, answer.headers["x-amz-meta-note"]) == (BODY, "kept")


def test_readers_get_an_object_as_it_was_when_they_asked(
    s3: S3Server, client: httpx.Client
) -> None:
    client.put(path("k"), content=BODY)
    with client.stream("GET", path("k")) as answer:
        with httpx.Client(base_url=s3.url, auth=client.auth) as other:
            other.put(path("k"), content=b"new")
            assert other.get(path("k")).content == b"new"
        assert answer.read() == BODY


def test_listings_come_in_pages_in_groups_and_in_order(client: httpx.Client) -> None:
    keys = ["a/1", "a/2", "a/b/3", "a0", "b&<", "é"]
    for key in reversed(keys):
        client.put(path(key), content=b"1")
    told: list[str] = []
    query = {"list-type": "2", "max-keys": "2"}
    for _ in range(3):
        page = client.get("/bucket", params=query)
        told += elements(page, "Key")
        query["continuation-token"] = element(page, "NextContinuationToken")
    assert told == ["a/1", "a/2", "a/b/3", "a0", "b&amp;&lt;", "é"]
    assert element(page, "IsTruncated") == "false"

    grouped = client.get("/bucket", params={"list-type": "2", "delimiter": "/", "max-keys": "1"})
    assert elements(grouped, "Key") == []
    assert element(grouped, "KeyCount") == "1"
    assert "<CommonPrefixes><Prefix>a/</Prefix></CommonPrefixes>" in grouped.text
    token = element(grouped, "NextContinuationToken")
    rest = {"list-type": "2", "delimiter": "/", "continuation-token": token, "encoding-type": "url"}
    assert elements(client.get("/bucket", params=rest), "Key") == ["a0", "b%26%3C", "%C3%A9"]
    inner = client.get("/bucket", params={"list-type": "2", "prefix": "a/", "delimiter": "/"})
    assert elements(inner, "Key") == ["a/1", "a/2"]
    after = client.get("/bucket", params={"list-type": "2", "start-after": "a0"})
    assert elements(after, "Key") == ["b&amp;&lt;", "é"]
    bad = client.get("/bucket", params={"list-type": "2", "continuation-token": "!"})
    assert code(bad) == (400, "InvalidArgument")


def test_several_objects_are_deleted_at_once(s3: S3Server, client: httpx.Client) -> None:
    for key in ("a", "b", "c"):
        client.put(path(key), content=b"1")
    body = b"<Delete><Object><Key>a</Key></Object><Object><Key>gone</Key></Object></Delete>"
    assert code(client.post("/bucket?delete", content=body)) == (400, "InvalidRequest")
    done = client.post("/bucket?delete", content=body, headers={"Content-MD5": md5(body)})
    assert elements(done, "Key") == ["a", "gone"]
    assert s3.buckets["bucket"].keys == ["b", "c"]
    broken = client.post("/bucket?delete", content=b"<Delete", headers={"Content-MD5": md5(b"<D")})
    assert code(broken) == (400, "BadDigest")


def test_what_is_not_implemented_says_so(client: httpx.Client) -> None:
    assert code(client.get("/bucket")) == (501, "NotImplemented")
    acl = client.get(path("k") + "?acl")
    assert code(acl) == (501, "NotImplemented")
    assert "acl" in element(acl, "Message")
    chunked = client.put(
        path("k"), content=iter([b"1"]), headers={"x-amz-content-sha256": UNSIGNED}
    )
    assert code(chunked) == (411, "MissingContentLength")


def test_a_public_bucket_is_read_through_a_proxy_with_its_habits(
    s3: S3Server, client: httpx.Client, clock: Clock
) -> None:
    s3.strictness = Strictness(
        public=frozenset({"open"}), listing_age=60, head_without_length=True, longest_range=1000
    )
    client.put(path("product/a", "open"), content=BODY)
    with httpx.Client(base_url=s3.url) as anyone:
        assert elements(anyone.get("/open?list-type=2"), "Key") == ["product/a"]
        assert code(anyone.get("/bucket?list-type=2")) == (403, "AccessDenied")
        assert code(anyone.put(path("product/a", "open"))) == (403, "AccessDenied")
        head = anyone.head(path("product/a", "open"))
        assert (head.status_code, "content-length" in head.headers) == (200, False)
        cut = anyone.get(path("product/a", "open"), headers={"Range": "bytes=5-9999"})
        assert (cut.status_code, cut.content) == (206, BODY[5:1005])
        assert cut.headers["content-range"] == f"bytes 5-1004/{len(BODY)}"
        assert anyone.get(path("product/a", "open")).content == BODY
        client.put(path("product/b", "open"), content=BODY)
        assert elements(anyone.get("/open?list-type=2"), "Key") == ["product/a"]
        clock.now += 60
        assert elements(anyone.get("/open?list-type=2"), "Key") == ["product/a", "product/b"]


def test_the_log_holds_neither_signature_nor_token(
    s3: S3Server, client: httpx.Client, clock: Clock
) -> None:
    client.put(path("k"), content=b"1", auth=Signed("session", token="token", at=clock.now))
    (entry,) = s3.log
    assert not {"authorization", "x-amz-security-token"} & {name for name, _ in entry.headers}
    assert (entry.method, entry.path, entry.status, entry.received) == ("PUT", "/bucket/k", 200, 1)


def test_a_copy_is_of_the_object_that_was_seen(client: httpx.Client) -> None:
    etag = client.put(path("a"), content=b"one").headers["ETag"]
    headers = {"x-amz-copy-source": path("a"), "x-amz-copy-source-if-match": '"0"'}
    assert code(client.put(path("b"), headers=headers)) == (412, "PreconditionFailed")
    headers["x-amz-copy-source-if-match"] = etag
    assert client.put(path("b"), headers=headers).status_code == 200


@pytest.mark.parametrize(("rules", "prefix"), [(R2, "cf-copy-destination-"), (AWS, "")])
def test_what_a_copy_replaces_has_its_own_conditions(
    s3: S3Server, client: httpx.Client, rules: Strictness, prefix: str
) -> None:
    s3.strictness = replace(rules, seconds_a_write=0.0)
    client.put(path("a"), content=b"one")
    etag = client.put(path("b"), content=b"two").headers["ETag"]
    source = {"x-amz-copy-source": path("a")}
    for condition in ({"if-none-match": "*"}, {"if-match": '"0"'}):
        refused = {f"{prefix}{name}": value for name, value in condition.items()}
        told = client.put(path("b"), headers=source | refused)
        assert code(told) == (412, "PreconditionFailed")
    taken = client.put(path("b"), headers=source | {f"{prefix}if-match": etag})
    assert taken.status_code == 200


def test_only_what_is_put_can_be_a_copy(client: httpx.Client) -> None:
    client.put(path("a"), content=b"one")
    told = client.get(path("a"), headers={"x-amz-copy-source": path("a")})
    assert code(told) == (501, "NotImplemented")
