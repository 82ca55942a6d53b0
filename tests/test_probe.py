import hashlib
from typing import Any

import pytest

from fleet.messages import Budget, Item, Sample, Share, Source
from tests.fault_server import FaultServer
from tests.pull_support import Site, item, noise, order
from tests.test_digests import merkle_root
from workers.lease import Lease
from workers.probe import probe
from workers.work import Work

BODY = noise(100_000)
START, LENGTH = 32_768, 16_384


def piece(url: str, **known: Any) -> Item:
    """An item whose third piece is to be probed."""
    sha1 = hashlib.sha1(BODY[START : START + LENGTH]).hexdigest()
    sample = Sample(start=START, length=LENGTH, sha1=sha1)
    return item("census.zip", url, sample=sample, size=len(BODY), **known)


def probed(site: Site, *items: Item, **settings: Any) -> Work:
    return probe(order(*items, task="probe"), Lease(), site.settings(**settings))


def test_a_piece_is_read_by_a_range_and_checked(server: FaultServer, site: Site) -> None:
    one = piece(server.serve("census.zip", BODY))

    work = probed(site, one)

    assert work.items[0].ok, work.items[0].reason
    assert [asked.range for asked in server.requests] == ["bytes=32768-49151"]
    (report,) = work.sources
    assert (report.host, report.bytes, report.requests, report.errors) == (
        server.netloc,
        LENGTH,
        1,
        0,
    )
    assert work.bytes_fetched == LENGTH


@pytest.mark.parametrize("body", [b"", b"abc"])
def test_a_small_file_is_read_whole(server: FaultServer, site: Site, body: bytes) -> None:
    sample = Sample(start=0, length=len(body), sha256=hashlib.sha256(body).hexdigest())
    one = item("a.csv", server.serve("a.csv", body), sample=sample, size=len(body))

    (found,) = probed(site, one).items

    assert found.ok, found.reason


@pytest.mark.parametrize(
    ("fault", "options", "reason", "kind"),
    [
        ("no_ranges", {}, "ignores ranges: answered one with 200 and the whole file", "source"),
        ("truncated", {"cuts": (5000,)}, "sent 5000 of 16384 bytes and then broke off", "source"),
        ("short_ranges", {"most": 100}, "bytes 32768-49151 and answered 'bytes 3276", "source"),
        ("wrong_range", {}, "bytes 32768-49151 and answered 'bytes 32769-", "source"),
        ("other_total", {}, "its file has 100007 bytes where 100000 were expected", "source"),
        ("html", {}, "answered an HTML page (text/html) instead of census.zip", "source"),
        ("compressed", {}, "sent it compressed (gzip)", "source"),
        ("wrong_bytes", {}, "serves the wrong bytes from 32768 on (sha1 ", "corrupt"),
        ("status", {"code": 404}, "answered 404 Not Found", "source"),
        ("status", {"code": 503}, "answered 503 Service Unavailable", "source"),
        ("silent", {}, "gave no answer within 0.2 s", "source"),
        ("stalling", {}, "sent 8192 of 16384 bytes and then nothing for 0.2 s", "source"),
        ("garbage", {}, "broke off before it answered", "source"),
        ("trickling", {}, "took longer than 0.8 s", "source"),
        ("redirect", {}, "redirects more than 5 times", "source"),
    ],
)
def test_each_way_to_fail_has_its_own_reason(
    server: FaultServer, site: Site, fault: str, options: dict[str, Any], reason: str, kind: str
) -> None:
    one = piece(server.serve("census.zip", BODY, fault, **options))

    work = probed(site, one, stall_seconds=0.2)

    (found,) = work.items
    assert not found.ok
    assert reason in found.reason
    assert found.reason.startswith(f"{server.netloc}: ")
    assert (found.fault, found.final) == (kind, False)
    assert work.sources[0].errors == 1
    assert work.sources[0].last_error == found.reason


def test_a_refused_source_and_an_order_without_a_sample_are_refused(
    server: FaultServer, site: Site
) -> None:
    private = piece(server.serve("census.zip", BODY))
    bare = item("bare.zip", server.url("bare.zip"))

    work = probed(site, private, bare, allow_networks="")

    assert [found.fault for found in work.items] == ["refused", "refused"]
    assert "is not public" in work.items[0].reason
    assert "no sample" in work.items[1].reason
    assert server.requests == []


def test_only_the_first_source_is_asked_and_only_once(server: FaultServer, site: Site) -> None:
    one = piece(server.serve("gone", BODY, "status", code=503))
    other = Source(url=server.serve("census.zip", BODY))
    both = one.model_copy(update={"sources": (*one.sources, other)})

    (found,) = probed(site, both).items

    assert not found.ok
    assert [asked.path for asked in server.requests] == ["gone"]


@pytest.mark.parametrize(("flip", "fault"), [(0, ""), (1, "corrupt")])
def test_a_piece_is_proved_by_its_subtree(
    server: FaultServer, site: Site, flip: int, fault: str
) -> None:
    served = bytes(byte ^ flip for byte in BODY)
    sample = Sample(
        start=START, length=2 * LENGTH, bep52=merkle_root(BODY[START : START + 2 * LENGTH])
    )
    one = item("census.zip", server.serve("census.zip", served), sample=sample, size=len(BODY))

    (found,) = probed(site, one).items

    assert (found.ok, found.fault) == (not fault, fault)
    assert ("serves the wrong bytes from 32768 on (BEP 52 root" in found.reason) is bool(fault)


def test_where_a_providers_budget_is_spent_nothing_is_asked_and_nobody_accused(
    server: FaultServer, site: Site
) -> None:
    spent = Share(provider="zenodo", hosts=(server.netloc,))
    given = order(piece(server.serve("census.zip", BODY)), task="probe")

    work = probe(given, Lease(Budget(shares=(spent,))), site.settings(stall_seconds=0.2))

    [found] = work.items
    assert (found.ok, found.fault, found.final) == (False, "local", False)
    assert found.reason == "not asked: zenodo's budget is spent"
    assert server.requests == []
    assert [one.errors for one in work.sources] in ([], [0])
