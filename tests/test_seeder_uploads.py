"""A real seeder within its caps: by rate, by hours and by month, by BitTorrent and its door."""

import http.client
import json
import shutil
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from fleet.planning.uploads import month, next_month
from fleet.settings import SiteSettings
from tests.seeder_support import PIECE, Centre, Process, Shard, aria2, eventually, running, site
from workers.seeder.fetch import FetchReport, fetch

KB = 1000
ARIA2 = pytest.mark.skipif(not shutil.which("aria2c"), reason="needs aria2c (package aria2)")


@pytest.fixture
def told() -> Iterator[Centre]:
    """The centre that the seeder is told of."""
    centre = Centre()
    yield centre
    centre.close()


@pytest.fixture
def settings(tmp_path: Path) -> SiteSettings:
    return site(tmp_path)


def _shard(settings: SiteSettings, told: Centre, pieces: int) -> Shard:
    """A shard that lies at the site and is wanted there."""
    shard = Shard("ds", {"a": pieces * PIECE}, trackers=(told.tracker,), web_seeds=())
    shard.put(settings.store_root)
    told.want(shard)
    return shard


def _fetch(seeder: Process, shard: Shard, into: Path, timeout: float = 20) -> FetchReport:
    peer = ("127.0.0.1", seeder.ready()["bittorrent"])
    return fetch(shard.torrent, into, [peer], timeout=timeout)


def _get(seeder: Process, shard: Shard) -> tuple[int, dict[str, str], bytes]:
    link = http.client.HTTPConnection("127.0.0.1", seeder.ready()["door"], timeout=20)
    try:
        link.request("GET", f"/{shard.dataset}/v1/a")
        answer = link.getresponse()
        try:
            body = answer.read()
        except http.client.IncompleteRead as error:
            body = error.partial
        return answer.status, dict(answer.getheaders()), body
    finally:
        link.close()


def _uploads(seeder: Process) -> dict[str, Any]:
    told: dict[str, Any] = seeder.status()["uploads"]
    return told


def _file(settings: SiteSettings) -> Path:
    return settings.state / "uploads.json"


def _spent(settings: SiteSettings, when: datetime, sent: int) -> None:
    """Leave the count of a month on disk."""
    settings.state.mkdir(parents=True, exist_ok=True)
    count = {"month": month(when), "bittorrent": sent // 2, "door": sent - sent // 2}
    _file(settings).write_text(json.dumps(count))


@ARIA2
def test_aria2_gets_no_more_than_the_rate(
    tmp_path: Path, told: Centre, settings: SiteSettings
) -> None:
    shard = _shard(settings, told, 90)
    told.caps = {"bytes_per_second": 300 * KB}
    with running(settings, told.url, FLEET_DOOR="") as seeder:
        assert seeder.sync()["seeding"] == 1
        assert _uploads(seeder)["reason"] == "at most 300 kB/s"
        told.peers = [("127.0.0.1", seeder.ready()["bittorrent"])]
        began = time.monotonic()
        done = aria2(shard.torrent, tmp_path / "peer", shard.folder)
        seconds = time.monotonic() - began
    assert done.returncode == 0, done.stdout
    assert seconds >= shard.meta.size / (300 * KB) - 1


def test_both_ways_together_stay_within_the_rate_and_neither_starves(
    tmp_path: Path, told: Centre, settings: SiteSettings
) -> None:
    shard = _shard(settings, told, 60)
    told.caps = {"bytes_per_second": 400 * KB}
    with running(settings, told.url) as seeder, ThreadPoolExecutor() as both:
        assert seeder.sync()["seeding"] == 1
        began = time.monotonic()
        peer = both.submit(_fetch, seeder, shard, tmp_path / "peer")
        status, _, body = _get(seeder, shard)
        assert peer.result().ok, peer.result()
        seconds = time.monotonic() - began
        assert (status, body) == (200, shard.files["a"])
        assert seconds >= 2 * shard.meta.size / (400 * KB) - 1

        def counted() -> bool:
            return bool(_uploads(seeder)["sent"] >= 2 * shard.meta.size - PIECE)

        eventually(counted, "both ways are counted")


def test_a_rate_that_changes_holds_at_once(
    tmp_path: Path, told: Centre, settings: SiteSettings
) -> None:
    shard = _shard(settings, told, 60)
    told.caps = {"bytes_per_second": 1}
    with running(settings, told.url) as seeder, ThreadPoolExecutor() as both:
        assert seeder.sync()["seeding"] == 1
        waiting = both.submit(_get, seeder, shard)
        assert not _fetch(seeder, shard, tmp_path / "peer", timeout=1.5).ok
        assert not waiting.done()
        told.caps = {}
        assert seeder.sync()["ok"]
        assert waiting.result()[2] == shard.files["a"]
        assert _fetch(seeder, shard, tmp_path / "peer").ok


def test_hours_of_nothing_stop_both_ways_until_they_end(
    tmp_path: Path, told: Centre, settings: SiteSettings
) -> None:
    shard = _shard(settings, told, 4)
    always = {"timezone": "UTC", "opens": "00:00", "closes": "00:00", "bytes_per_second": 0}
    told.caps = {"hours": [always]}
    with running(settings, told.url) as seeder:
        assert seeder.sync()["seeding"] == 1
        assert _uploads(seeder)["reason"] == "no uploads from 00:00 to 00:00 (UTC)"
        assert _get(seeder, shard)[0] == 503
        report = _fetch(seeder, shard, tmp_path / "peer", timeout=2)
        assert (report.ok, report.bytes_from_peers) == (False, 0)
        assert seeder.torrent(shard.infohash)["uploaded"] == 0


def test_a_month_that_is_used_up_lets_no_byte_out_and_the_next_one_does(
    tmp_path: Path, told: Centre, settings: SiteSettings
) -> None:
    shard = _shard(settings, told, 20)
    now = datetime.now(UTC)
    told.caps = {"bytes_per_month": 10**9}
    _spent(settings, now, 10**9)
    with running(settings, told.url) as seeder:
        assert seeder.sync()["seeding"] == 1
        uploads = _uploads(seeder)
        assert (uploads["sent"], uploads["bytes_per_second"]) == (10**9, 0)
        assert uploads["reason"] == "this month's 1 GB are used up"
        assert datetime.fromisoformat(uploads["until"]) == next_month(now)
        assert told.uploads[-1] == uploads
        status, headers, _ = _get(seeder, shard)
        wait = (next_month(now) - datetime.now(UTC)).total_seconds()
        assert status == 503
        assert wait - 60 < int(headers["retry-after"]) <= wait + 60
        report = _fetch(seeder, shard, tmp_path / "peer", timeout=3)
        assert (report.ok, report.bytes_from_peers) == (False, 0)
        assert seeder.end() == 0
    _spent(settings, now.replace(day=1) - timedelta(days=1), 10**9)
    with running(settings, told.url) as seeder:
        assert _uploads(seeder)["month"] == month(now)
        assert _get(seeder, shard)[2] == shard.files["a"]
        assert _fetch(seeder, shard, tmp_path / "peer").ok


def test_a_clock_that_was_set_back_does_not_empty_the_count(
    told: Centre, settings: SiteSettings
) -> None:
    shard = _shard(settings, told, 4)
    told.caps = {"bytes_per_month": 10**9}
    _spent(settings, next_month(datetime.now(UTC)), 10**9)
    with running(settings, told.url) as seeder:
        assert seeder.sync()["seeding"] == 1
        assert _uploads(seeder)["sent"] == 10**9
        assert _get(seeder, shard)[0] == 503


def test_a_months_last_bytes_are_not_overrun(
    tmp_path: Path, told: Centre, settings: SiteSettings
) -> None:
    shard = _shard(settings, told, 120)
    told.caps = {"bytes_per_month": 1200 * KB}
    with running(settings, told.url) as seeder:
        assert seeder.sync()["seeding"] == 1
        status, _, body = _get(seeder, shard)
        assert status == 200
        assert len(body) < shard.meta.size
        report = _fetch(seeder, shard, tmp_path / "peer", timeout=4)
        assert not report.ok

        def used_up() -> bool:
            return bool(_uploads(seeder)["bytes_per_second"] == 0)

        eventually(used_up, "the month is used up")
        assert len(body) + report.bytes_from_peers <= 1200 * KB
        assert _uploads(seeder)["sent"] <= 1200 * KB
        assert _get(seeder, shard)[0] == 503


def test_what_was_sent_outlives_a_kill(
    tmp_path: Path, told: Centre, settings: SiteSettings
) -> None:
    shard = _shard(settings, told, 50)
    with running(settings, told.url) as seeder:
        assert seeder.sync()["seeding"] == 1
        assert _fetch(seeder, shard, tmp_path / "peer").ok
        assert _get(seeder, shard)[0] == 200
        least = 2 * shard.meta.size - PIECE

        def kept() -> bool:
            return _file(settings).exists() and sum(_counts(settings)) >= least

        eventually(kept, "the count is on disk")
        seeder.end(signal.SIGKILL)
    kept_then = sum(_counts(settings))
    with running(settings, told.url) as seeder:
        assert _uploads(seeder)["sent"] >= kept_then
        assert seeder.end() == 0
        # it is also told in the log, should the file be lost
        said = seeder.event("uploads")
        assert [said["bittorrent"], said["door"]] == _counts(settings)


def _counts(settings: SiteSettings) -> list[int]:
    count = json.loads(_file(settings).read_text())
    return [count["bittorrent"], count["door"]]


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        b'{"month": "2026-0',
        b'{"month": "2026-13"}',
        b'{"month": "2026-03", "door": -1}',
        b"[]",
    ],
)
def test_a_broken_count_is_refused_aloud_and_counts_as_used_up(
    told: Centre, settings: SiteSettings, broken: bytes
) -> None:
    shard = _shard(settings, told, 4)
    told.caps = {"bytes_per_month": 10**12}
    settings.state.mkdir(parents=True)
    _file(settings).write_bytes(broken)
    with running(settings, told.url) as seeder:
        said = seeder.event("this month's uploads are unknown")
        assert (said["level"], said["path"]) == ("error", str(_file(settings)))
        assert "remove it to count from nothing" in said["remedy"]
        assert seeder.sync()["seeding"] == 1
        assert _uploads(seeder)["sent"] is None
        assert "not known" in _uploads(seeder)["reason"]
        assert _get(seeder, shard)[0] == 503
        told.caps = {}
        assert seeder.sync()["ok"]
        assert _get(seeder, shard)[0] == 200
        assert seeder.end() == 0
    assert _file(settings).read_bytes() == broken


def test_caps_hold_without_the_centre(told: Centre, settings: SiteSettings) -> None:
    _shard(settings, told, 4)
    told.caps = {"bytes_per_second": 0}
    with running(settings, told.url) as seeder:
        assert seeder.sync()["ok"]
    told.close()
    with running(settings, told.url) as seeder:
        assert seeder.status()["seeding"] == 1
        assert _uploads(seeder)["reason"] == "no uploads"


def test_a_list_with_bad_caps_changes_nothing(told: Centre, settings: SiteSettings) -> None:
    _shard(settings, told, 4)
    told.caps = {"bytes_per_second": 5}
    with running(settings, told.url) as seeder:
        assert seeder.sync()["ok"]
        for bad in (-1, "fast", 2**63):
            told.caps = {"bytes_per_second": bad}
            assert "bytes_per_second" in seeder.sync()["error"]
        told.caps = {"hours": [{"timezone": "../x", "opens": "1", "closes": "2"}]}
        assert "timezone" in seeder.sync()["error"]
        assert _uploads(seeder)["bytes_per_second"] == 5


@pytest.mark.parametrize(
    "cached",
    [None, b"{", b'{"revision": "r", "seeds": []}'],
    ids=["none", "broken", "without caps"],
)
def test_without_cached_caps_nothing_goes_out_before_the_centre_is_heard(
    cached: bytes | None, told: Centre, settings: SiteSettings
) -> None:
    shard = _shard(settings, told, 4)
    (settings.state / "seeds").mkdir(parents=True)
    if cached is not None:
        (settings.state / "seeds" / "desired.json").write_bytes(cached)
    url = told.url
    told.close()
    with running(settings, url) as seeder:
        assert _get(seeder, shard)[0] == 503
        assert "until the centre is heard of" in _uploads(seeder)["reason"]
