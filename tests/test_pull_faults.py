import errno
import hashlib
import os
from dataclasses import dataclass, field
from typing import Any

import pytest

from fleet.messages import Budget, SourceReport
from tests.fault_kinds import FAULTS, PAGE
from tests.fault_server import FaultServer
from tests.pull_support import Site, item, noise, order
from workers.pull.extents import GRANULE

pytestmark = pytest.mark.usefixtures("impatience")
BODY = noise(200_000)
NAME = "census.zip"


@dataclass(frozen=True)
class Case:
    """A misbehaviour, what is known of the item, and the reason that names it."""

    fault: str
    reason: str
    options: dict[str, Any] = field(default_factory=dict)
    known: dict[str, Any] = field(default_factory=dict)
    requests: int = 1


HOPELESS = [
    Case("html", "answered an HTML page (text/html) instead of census.zip"),
    Case("html", "answered an HTML page (text/html) instead of census.zip", known={"size": 9}),
    Case("html_unlabelled", "answered an HTML page (by its first bytes) instead of census.zip"),
    Case("huge_length", "sent 1000 of 10000000000 bytes and then broke off", requests=3),
    Case("huge_length", "offers 10000000000 bytes where 5 were expected", known={"size": 5}),
    Case(
        "huge_length",
        "offers 2199023255552 bytes, more than the 1099511627776 allowed",
        {"length": 1 << 41},
    ),
    Case("none", "offers 200000 bytes where 199999 were expected", known={"size": 199_999}),
    Case("chunked", "sends more than the 199999 bytes expected", known={"size": 199_999}),
    Case(
        "chunked",
        "offers 200000 bytes where 200001 were expected",
        known={"size": 200_001},
        requests=2,
    ),
    Case("endless_chunked", "sends more than the 300000 bytes expected", known={"size": 300_000}),
    Case(
        "truncated", "sent 5000 of 200000 bytes and then broke off", {"cuts": (5000, 0)}, requests=3
    ),
    Case("no_length", "gives no length, so a cut-off file would look like a whole one"),
    Case("bad_chunks", "sent 300 of 200000 bytes and then broke off", requests=3),
    Case("compressed", "sent it compressed (gzip) although asked not to"),
    Case("unasked_range", "answered 206"),
    Case(
        "wrong_range",
        "was asked for bytes from 100000 and answered 'bytes 100001-199999/200000'",
        {"cuts": (100_000,)},
        requests=2,
    ),
    Case(
        "other_total",
        "offers 200007 bytes where 200000 were expected",
        {"cuts": (100_000,)},
        {"size": 200_000},
        requests=2,
    ),
    Case("changing", 'its file changed ("state-1", then "state-2"), again and again', requests=3),
    Case("splicing", 'its file changed ("state-2", then "state-3"), again and again', requests=4),
    Case("wrong_bytes", "sent the wrong bytes (sha256", known={"sha256": "ab" * 32}),
    Case("none", "sent the wrong bytes (md5", known={"md5": "ab" * 16}),
    Case("status", "answered 404 Not Found", {"code": 404}),
    Case("status", "answered 410 Gone", {"code": 410}),
    Case("status", "answered 403 Forbidden", {"code": 403}),
    Case("status", "answered 204 No Content", {"code": 204}),
    Case("status", "answered 304 Not Modified", {"code": 304}),
    Case("status", "answered 503 Service Unavailable", {"code": 503}, requests=3),
    Case(
        "status",
        "answered 429 Too Many Requests and asks to be left alone for 3600 s",
        {"code": 429, "headers": {"Retry_After": 3600}},
    ),
    Case("redirect", "redirects more than 5 times", requests=6),
    Case("garbage", "broke off before it answered", requests=3),
]


@pytest.mark.parametrize("case", HOPELESS, ids=lambda case: f"{case.fault}-{case.reason[:30]}")
def test_a_bad_source_ends_in_a_clear_reason_and_leaves_nothing_visible(
    server: FaultServer, site: Site, case: Case
) -> None:
    url = server.serve(NAME, BODY, case.fault, **case.options)

    work = site.pull(order(item(NAME, url, **case.known)))

    (found,) = work.items
    assert not found.ok
    assert case.reason in found.reason
    assert found.reason.startswith(f"{server.netloc}: ")
    assert "\n" not in found.reason
    assert (found.fault, found.final) == ("source", False)
    assert site.visible() == []
    assert len(server.asked(NAME)) == case.requests
    (report,) = work.sources
    assert report.host == server.netloc
    assert report.errors >= 1
    assert case.reason in report.last_error
    assert work.bytes_fetched == report.bytes


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("silent", "gave no answer within 0.2 s"),
        ("stalling", "sent 30000 of 200000 bytes and then nothing for 0.2 s"),
    ],
)
def test_a_source_that_falls_silent_is_dropped(
    server: FaultServer, site: Site, fault: str, reason: str
) -> None:
    url = server.serve(NAME, BODY, fault, after=30_000, etag="", modified="")

    found = site.pull_one(item(NAME, url), stall_seconds=0.2)

    assert reason in found.reason
    assert found.fault == "source"
    assert site.visible() == []


def test_a_source_that_nobody_listens_at_cannot_be_reached(site: Site) -> None:
    with FaultServer() as gone:
        url = gone.serve(NAME, BODY)

    found = site.pull_one(item(NAME, url))

    assert found.reason.startswith(f"{gone.netloc}: cannot be reached")
    assert not found.final


def test_a_host_that_is_down_does_not_hold_up_all_its_files(site: Site) -> None:
    with FaultServer() as gone, FaultServer() as there:
        dead, alive = gone.serve(NAME, BODY), there.serve(NAME, BODY)
        gone.stop()
        items = [item(f"{at}.zip", dead) for at in range(50)]
        items.append(item("last.zip", dead, alive))

        work = site.pull(order(*items, budget=Budget(streams=1)))

    assert [found.ok for found in work.items] == [False] * 50 + [True]
    assert all("cannot be reached" in found.reason for found in work.items[:50])
    assert work.sources[0].requests == 9


def test_a_name_that_does_not_resolve_says_so(site: Site) -> None:
    found = site.pull_one(item(NAME, "http://nowhere.invalid/census.zip"))

    assert "nowhere.invalid: its name cannot be resolved" in found.reason
    assert (found.fault, found.final) == ("source", False)


def test_no_fault_of_the_server_is_left_untried() -> None:
    healed = {"resetting", "chunked_truncated", "no_ranges", "no_validators", "dated"}
    elsewhere = {"silent", "stalling", "short_ranges", "meeting", "trickling"}

    assert set(FAULTS) == {case.fault for case in HOPELESS} | healed | elsewhere


@pytest.mark.parametrize("fault", ["resetting", "chunked_truncated", "no_ranges", "dated"])
@pytest.mark.parametrize("known", [True, False])
def test_a_source_that_fails_once_is_asked_again(
    server: FaultServer, site: Site, fault: str, known: bool
) -> None:
    url = server.serve(NAME, BODY, fault, cuts=(150_000, None))

    found = site.pull_one(item(NAME, url, body=BODY if known else None))

    assert found.ok, found.reason
    assert found.sha256 == hashlib.sha256(BODY).hexdigest()
    assert site.file(NAME).read_bytes() == BODY
    assert len(server.asked(NAME)) == 2


def test_a_busy_source_is_asked_again_when_it_says(server: FaultServer, site: Site) -> None:
    url = server.serve(NAME, BODY, "status", code=503, headers={"Retry_After": 0}, times=2)

    found = site.pull_one(item(NAME, url))

    assert found.ok
    assert len(server.asked(NAME)) == 3


def test_a_page_is_welcome_where_a_page_was_asked_for(server: FaultServer, site: Site) -> None:
    url = server.serve("index.html", PAGE, "html")

    found = site.pull_one(item("index.html", url))

    assert found.ok
    assert site.file("index.html").read_bytes() == PAGE


def test_a_page_with_the_right_digest_is_the_file(server: FaultServer, site: Site) -> None:
    url = server.serve("page", PAGE)

    assert site.pull_one(item("page", url, body=PAGE)).ok


def test_an_item_larger_than_the_disk_is_left_alone(server: FaultServer, site: Site) -> None:
    size = 1 << 60
    url = server.serve(NAME, BODY, "huge_length", length=size)

    (found,) = site.pull(order(item(NAME, url), max_bytes=0)).items

    assert f"{size} bytes are still needed" in found.reason
    assert "free" in found.reason
    assert found.fault == "local"
    assert not found.final


def test_an_item_larger_than_allowed_is_refused_unasked(server: FaultServer, site: Site) -> None:
    url = server.serve(NAME, BODY)

    (found,) = site.pull(order(item(NAME, url, size=len(BODY)), max_bytes=1000)).items

    assert (found.fault, found.final) == ("refused", True)
    assert "200000 bytes, more than the 1000 allowed" in found.reason
    assert server.requests == []


def test_a_full_disk_is_our_own_fault(
    server: FaultServer, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = server.serve(NAME, BODY)

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "pwrite", full)
    work = site.pull(order(item(NAME, url)), full_disk_seconds=0)

    (found,) = work.items
    assert (found.fault, found.final) == ("local", False)
    assert found.reason == "this host cannot store census.zip: No space left on device"
    assert work.sources[0].errors == 0
    assert site.visible() == []


def test_the_next_source_helps_out_and_each_is_reported(site: Site) -> None:
    with FaultServer() as first, FaultServer() as second, FaultServer() as third:
        urls = [
            first.serve(NAME, BODY, "status", code=404),
            second.serve(NAME, BODY, "html"),
            third.serve(NAME, BODY),
        ]
        work = site.pull(order(item(NAME, *urls)))

    (found,) = work.items
    assert found.ok
    assert found.source == urls[2]
    assert site.file(NAME).read_bytes() == BODY
    errors: dict[str, SourceReport] = {report.host: report for report in work.sources}
    assert errors[first.netloc].last_error == f"{first.netloc}: answered 404 Not Found"
    assert "HTML page" in errors[second.netloc].last_error
    assert errors[third.netloc].errors == 0
    assert errors[third.netloc].bytes == len(BODY)


def test_the_most_telling_reasons_come_first(site: Site) -> None:
    with FaultServer() as server:
        urls = [
            server.serve("busy", BODY, "status", code=503),
            "ftp://example.org/census.zip",
            server.serve("page", BODY, "html"),
        ]
        found = site.pull_one(item(NAME, *urls))

    parts = found.reason.split("; ")
    assert "HTML page" in parts[0]
    assert "503" in parts[1]
    assert "only http and https" in parts[2]
    assert (found.fault, found.final) == ("source", False)


def test_an_item_without_a_source_says_so(site: Site) -> None:
    found = site.pull_one(item(NAME))

    assert found.reason == "has no HTTP source to pull from"
    assert not found.final


def test_a_lying_source_does_not_spoil_what_an_honest_one_sends(site: Site) -> None:
    with FaultServer() as liar, FaultServer() as honest:
        urls = [liar.serve(NAME, BODY, "wrong_bytes"), honest.serve(NAME, BODY)]
        work = site.pull(order(item(NAME, *urls, body=BODY)))

    (found,) = work.items
    assert found.ok
    assert found.source == urls[1]
    assert "sent the wrong bytes" in work.sources[0].last_error
    assert honest.asked(NAME)[0].range is None


def test_of_two_sources_whose_bytes_do_not_fit_the_wrong_one_s_are_replaced(site: Site) -> None:
    other, body = noise(3 * GRANULE, seed=2), noise(3 * GRANULE)
    with FaultServer() as first, FaultServer() as second:
        urls = [
            first.serve(NAME, other, "truncated", cuts=(GRANULE + 120_000, 0)),
            second.serve(NAME, body),
        ]
        work = site.pull(order(item(NAME, *urls, body=body)))

    assert work.items[0].ok
    ranges = [f"bytes={GRANULE}-", f"bytes=0-{GRANULE - 1}"]
    assert [asked.range for asked in second.asked(NAME)] == ranges
    assert "from byte 0 on, in 1 blocks, they differ" in work.sources[0].last_error
    assert site.file(NAME).read_bytes() == body


def test_bytes_of_two_sources_are_joined_when_the_digest_proves_them(site: Site) -> None:
    body = noise(3 * GRANULE)
    with FaultServer() as first, FaultServer() as second:
        urls = [
            first.serve(NAME, body, "truncated", cuts=(GRANULE + 120_000, 0)),
            second.serve(NAME, body, etag='"another"'),
        ]
        work = site.pull(order(item(NAME, *urls, body=body)))

    assert work.items[0].ok
    assert work.bytes_fetched == len(body) + 120_000
    assert second.asked(NAME)[0].headers.get("if-range") is None


def test_bytes_of_two_sources_are_never_joined_unproven(site: Site) -> None:
    other = noise(len(BODY), seed=2)
    with FaultServer() as first, FaultServer() as second:
        urls = [
            first.serve(NAME, other, "truncated", cuts=(120_000, 0), etag='"same"'),
            second.serve(NAME, BODY, etag='"same"'),
        ]
        found = site.pull_one(item(NAME, *urls))

    assert found.ok
    assert found.sha256 == hashlib.sha256(BODY).hexdigest()
    assert second.asked(NAME)[0].range is None


def test_answers_that_ask_for_less_are_counted_and_the_latency_is_told(
    site: Site, server: FaultServer
) -> None:
    url = server.serve(NAME, BODY, "status", code=503, headers={"Retry_After": 0}, times=2)
    work = site.pull(order(item(NAME, url)))
    (report,) = work.sources
    assert work.items[0].ok
    assert (report.throttled, report.errors) == (2, 2)
    assert report.latency_ms is not None
    assert 0 < report.latency_ms < 1000 * report.seconds


def test_small_files_asked_for_ahead_count_too(site: Site, server: FaultServer) -> None:
    items = [item(f"{number}.csv", server.serve(f"{number}.csv", BODY)) for number in range(20)]
    work = site.pull(order(*items))
    (report,) = work.sources
    assert all(one.ok for one in work.items)
    assert (report.throttled, report.requests) == (0, 20)
    assert report.latency_ms is not None
