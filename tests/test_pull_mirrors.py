"""Several sources of one file at once, honest and not."""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from fleet.messages import Budget, Source
from fleet.torrent.pieces import piece_length
from tests.fault_server import FaultServer
from tests.pull_support import Site, item, noise, order, v1_pieces
from workers.pull import asking
from workers.work import Work

pytestmark = pytest.mark.usefixtures("impatience")
NAME = "census.zip"
MIB = 1024 * 1024
BODY = noise(24 * MIB + 777)
PIECE = piece_length(len(BODY))
# No source may be done before the others have begun.
TOGETHER = Budget(streams=3, source_bytes_per_second=30 * MIB)


@pytest.fixture
def servers() -> Iterator[list[FaultServer]]:
    with ExitStack() as stack:
        yield [stack.enter_context(FaultServer()) for _ in range(3)]


def known(**fields: Any) -> dict[str, Any]:
    """What an order says of a shard whose piece hashes are known."""
    wanted = {"shard": "s1", "piece_length": PIECE, "digests": ("sha256",)}
    return {**wanted, "budget": TOGETHER, **fields}


def lying(at: int = 9 * MIB) -> bytes:
    wrong = bytearray(BODY)
    wrong[at] ^= 1
    return bytes(wrong)


def assert_right(site: Site, work: Work) -> None:
    assert work.items[0].ok, work.items[0].reason
    assert site.file(NAME).read_bytes() == BODY
    assert site.staged() == []


def blamed(work: Work) -> dict[str, str]:
    """Hosts with faults, and what they are blamed for."""
    return {one.host: one.last_error for one in work.sources if one.errors}


def test_ranges_come_from_all_sources_and_no_byte_twice(
    site: Site, servers: list[FaultServer]
) -> None:
    urls = [server.serve(NAME, BODY) for server in servers]

    work = site.pull(order(item(NAME, *urls, body=BODY), budget=TOGETHER))

    assert_right(site, work)
    assert blamed(work) == {}
    assert work.bytes_fetched == len(BODY)
    assert sum(1 for server in servers if server.sent.get(NAME)) >= 2


def test_known_pieces_convict_who_sends_a_wrong_one_and_keep_the_rest(
    site: Site, servers: list[FaultServer]
) -> None:
    urls = [servers[0].serve(NAME, lying(at=100)), servers[1].serve(NAME, BODY)]
    pieces = v1_pieces(BODY, PIECE)

    work = site.pull(order(item(NAME, *urls, body=BODY), **known()), known=pieces)

    assert_right(site, work)
    assert set(blamed(work)) == {servers[0].netloc}
    [liar] = [one for one in work.sources if one.host == servers[0].netloc]
    assert "piece 0 (bytes 0 to 262143) has sha1" in liar.evidence
    assert "sent the wrong bytes" in liar.last_error
    assert work.bytes_fetched <= len(BODY) + 6 * MIB


@pytest.mark.parametrize("liar", [0, 1, 2])
def test_without_known_pieces_a_cross_examination_finds_the_liar(
    site: Site, servers: list[FaultServer], liar: int
) -> None:
    urls = [
        server.serve(NAME, BODY if at != liar else bytes(byte ^ 1 for byte in BODY))
        for at, server in enumerate(servers)
    ]

    work = site.pull(order(item(NAME, *urls, body=BODY), budget=TOGETHER))

    assert_right(site, work)
    assert set(blamed(work)) == {servers[liar].netloc}
    assert "they differ from those of" in blamed(work)[servers[liar].netloc]
    assert work.bytes_fetched <= 2 * len(BODY) + 12 * MIB


@pytest.mark.parametrize("fault", ["stalling", "silent"])
def test_a_source_that_stalls_is_overtaken_and_named(
    site: Site, servers: list[FaultServer], fault: str
) -> None:
    urls = [
        servers[0].serve(NAME, BODY, fault, after=3 * MIB),
        servers[1].serve(NAME, BODY),
        servers[2].serve(NAME, BODY),
    ]

    work = site.pull(order(item(NAME, *urls, body=BODY)), stall_seconds=1)

    assert_right(site, work)
    assert set(blamed(work)) == {servers[0].netloc}


@pytest.mark.parametrize(
    ("fault", "options", "blame"),
    [
        ("no_ranges", {}, "answered 200 with the whole file for a range"),
        ("html", {}, "answered an HTML page (text/html)"),
        ("status", {"code": 404}, "answered 404"),
        ("status", {"code": 429, "headers": {"Retry_After": 60}}, "left alone for 60 s"),
        ("compressed", {}, "sent it compressed"),
        ("wrong_range", {}, "was asked for bytes from"),
        ("other_total", {}, "bytes where"),
        ("garbage", {}, "broke off before it answered"),
    ],
)
def test_a_source_that_answers_wrongly_is_named_and_the_others_deliver(
    site: Site, servers: list[FaultServer], fault: str, options: dict[str, Any], blame: str
) -> None:
    urls = [
        servers[0].serve(NAME, BODY),
        servers[1].serve(NAME, BODY, fault, cuts=(0,), **options),
        servers[2].serve(NAME, BODY),
    ]

    work = site.pull(order(item(NAME, *urls, body=BODY), budget=TOGETHER))

    assert_right(site, work)
    assert set(blamed(work)) == {servers[1].netloc}
    assert blame in blamed(work)[servers[1].netloc]


def test_a_source_whose_file_has_another_size_is_named(
    site: Site, servers: list[FaultServer]
) -> None:
    urls = [servers[0].serve(NAME, BODY), servers[1].serve(NAME, BODY + b"more")]

    work = site.pull(order(item(NAME, *urls, body=BODY), budget=TOGETHER))

    assert_right(site, work)
    told = f"offers {len(BODY) + 4} bytes where {len(BODY)} were expected"
    assert told in blamed(work)[servers[1].netloc]


def test_copies_of_the_fleet_are_asked_before_origins(
    site: Site, servers: list[FaultServer]
) -> None:
    sources = (
        Source(url=servers[1].serve(NAME, BODY), site="amsterdam"),
        Source(url=servers[2].serve(NAME, BODY), site="netcup"),
        Source(url=servers[0].serve(NAME, BODY)),
    )
    one = item(NAME, body=BODY).model_copy(update={"sources": sources})

    work = site.pull(order(one))

    assert_right(site, work)
    assert servers[0].requests == []


def test_a_copy_that_is_ranked_after_an_origin_is_asked_as_one(
    site: Site, servers: list[FaultServer]
) -> None:
    sources = (
        Source(url=servers[0].serve(NAME, BODY)),
        Source(url=servers[1].serve(NAME, BODY), site="amsterdam"),
    )
    one = item(NAME, body=BODY).model_copy(update={"sources": sources})

    work = site.pull(order(one, budget=Budget(streams=1)))

    assert_right(site, work)
    assert servers[0].requests


def test_an_origin_helps_out_once_no_copy_is_of_use(site: Site, servers: list[FaultServer]) -> None:
    sources = (
        Source(url=servers[0].serve(NAME, BODY)),
        Source(url=servers[1].serve(NAME, BODY, "status", code=404), site="amsterdam"),
    )
    one = item(NAME, body=BODY).model_copy(update={"sources": sources})

    work = site.pull(order(one))

    assert_right(site, work)
    assert work.items[0].source == sources[0].url


def test_what_no_digest_is_known_of_comes_from_one_source(
    site: Site, servers: list[FaultServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "WHOLE_SECONDS", 0.0)
    monkeypatch.setattr(asking, "AHEAD_SECONDS", 0.25)
    urls = [server.serve(NAME, BODY) for server in servers]
    slowly = Budget(streams=3, bytes_per_second=16 * MIB)

    work = site.pull(order(item(NAME, *urls), budget=slowly))

    assert_right(site, work)
    assert [len(server.requests) > 0 for server in servers] == [True, False, False]
    assert len(servers[0].requests) > 1, "a strong ETag allows several ranges"


@pytest.mark.parametrize("fault", ["none", "dated", "no_validators"])
def test_without_a_strong_etag_unproven_bytes_come_in_one_answer(
    site: Site, servers: list[FaultServer], fault: str
) -> None:
    url = servers[0].serve(NAME, BODY, fault)

    work = site.pull(order(item(NAME, url)))

    assert_right(site, work)
    assert servers[0].peak <= (4 if fault == "none" else 1)


def test_all_sources_lying_alike_is_no_wrong_file(site: Site, servers: list[FaultServer]) -> None:
    urls = [server.serve(NAME, lying()) for server in servers]

    work = site.pull(order(item(NAME, *urls, body=BODY)))

    assert not work.items[0].ok
    assert "sent the wrong bytes" in work.items[0].reason
    assert site.visible() == []
    assert set(blamed(work)) == {server.netloc for server in servers}


def test_two_liars_of_three_leave_the_honest_one(site: Site, servers: list[FaultServer]) -> None:
    urls = [
        servers[0].serve(NAME, lying(at=5)),
        servers[1].serve(NAME, lying(at=20 * MIB)),
        servers[2].serve(NAME, BODY),
    ]

    work = site.pull(order(item(NAME, *urls, body=BODY)))

    assert_right(site, work)
    assert servers[2].netloc not in blamed(work)
