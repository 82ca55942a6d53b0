"""The centre may be away, wrong or hostile; what was desired last goes on being seeded."""

import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.seeder_support import PIECE, Centre, Process, Shard, eventually, running, site
from workers.seeder.fetch import fetch


@pytest.fixture
def told() -> Iterator[Centre]:
    """The centre that the seeder is told of."""
    centre = Centre()
    yield centre
    centre.close()


def downloads(seeder: Process, shard: Shard, into: Path) -> bool:
    peer = ("127.0.0.1", seeder.ready()["bittorrent"])
    return fetch(shard.torrent, into / shard.folder, [peer], timeout=20).ok


def test_a_killed_seeder_seeds_again_at_once_without_the_centre(
    tmp_path: Path, told: Centre
) -> None:
    settings = site(tmp_path)
    shards = [Shard("lone", {"a": 5 * PIECE}), Shard("bundle", {"a": 3, "b": PIECE})]
    for shard in shards:
        shard.put(settings.store_root)
    told.want(*shards)
    with running(settings, told.url) as seeder:
        assert seeder.sync()["seeding"] == len(shards)
        seeder.end(signal.SIGKILL)
    told.close()
    started = time.monotonic()
    with running(settings, told.url) as seeder:
        assert seeder.ready()["seeding"] == len(shards)
        assert time.monotonic() - started < 10
        assert seeder.event("going on without the centre")["seeding"] == len(shards)
        answer = seeder.sync()
        assert not answer["ok"]
        assert "does not answer" in answer["error"]
        assert answer["seeding"] == len(shards)
        assert seeder.status()["centre"] == answer["error"]
        for shard in shards:
            assert downloads(seeder, shard, tmp_path / "peer")
        away = [line for line in seeder.log if line["event"] == "going on without the centre"]
        assert len(away) == 1


def test_an_unusable_list_changes_nothing(tmp_path: Path, told: Centre) -> None:
    settings = site(tmp_path)
    shard = Shard("ds", {"a": 5 * PIECE})
    shard.put(settings.store_root)
    told.want(shard)
    with running(settings, told.url) as seeder:
        assert seeder.sync()["seeding"] == 1
        for raw in (
            b"",
            b"<html>",
            b"[]",
            b"[" * 100_000,
            b'{"seeds": {}}',
            b'{"revision": "r", "x": 1}',
        ):
            told.raw = raw
            answer = seeder.sync()
            assert (answer["ok"], answer["seeding"]) == (False, 1), raw[:40]
            assert "malformed" in answer["error"] or "no list" in answer["error"]
        told.raw = None
        assert seeder.sync() == {"ok": True, "seeding": 1}
        assert seeder.event("in step with the centre again")
        seeder.end(signal.SIGKILL)
    (settings.state / "seeds" / "desired.json").write_bytes(b'{"revision": ')
    with running(settings, told.url) as seeder:
        assert "malformed" in seeder.event("cache unusable, waiting for the centre")["reason"]
        assert seeder.sync()["seeding"] == 1


def test_a_wrong_token_is_told_and_harms_nothing(tmp_path: Path, told: Centre) -> None:
    with running(site(tmp_path), told.url, FLEET_SITE_TOKEN="stolen") as seeder:
        answer = seeder.sync()
        assert not answer["ok"]
        assert "answers 401" in answer["error"]
    assert "stolen" not in str(seeder.log)


def test_what_is_no_longer_desired_is_dropped_and_its_files_stay(
    tmp_path: Path, told: Centre
) -> None:
    settings = site(tmp_path)
    kept, gone = Shard("kept", {"a": PIECE}), Shard("gone", {"a": PIECE, "b": 3})
    kept.put(settings.store_root)
    gone.put(settings.store_root)
    told.want(kept, gone)
    with running(settings, told.url) as seeder:
        assert seeder.sync()["seeding"] == 2
        told.want(kept)
        assert seeder.sync()["seeding"] == 1
        assert [one["infohash"] for one in seeder.status()["torrents"]] == [kept.infohash]
        peer = ("127.0.0.1", seeder.ready()["bittorrent"])
        assert not fetch(gone.torrent, tmp_path / "p", [peer], timeout=0.7).ok
        assert downloads(seeder, kept, tmp_path / "p")
        assert [one["infohash"] for one in told.reports[-1]] == [kept.infohash]
    assert gone.lies_in(settings.store_root)
    torrents = [path.name for path in (settings.state / "seeds").glob("*.torrent")]
    assert torrents == [f"{kept.infohash}.torrent"]


def test_a_new_seed_is_found_without_a_nudge(tmp_path: Path, told: Centre) -> None:
    settings = site(tmp_path)
    shard = Shard("ds", {"a": PIECE})
    shard.put(settings.store_root)
    with running(settings, told.url, FLEET_SEEDS_SECONDS="0.1") as seeder:
        told.want(shard)
        eventually(lambda: seeder.status()["seeding"] == 1, "the new seed is picked up")


def test_hostile_seeds_are_refused_one_by_one(tmp_path: Path, told: Centre) -> None:
    settings = site(tmp_path)
    root, outside = settings.store_root, settings.store_root.parent.parent
    good = Shard("good", {"x/a": PIECE})
    expected = {
        "other": ("refused", f"the torrent {good.infohash} in its place"),
        "broken": ("refused", "not a torrent"),
        "lost": ("refused", "404"),
        "renamed": ("refused", "not 'b'"),
        "resized": ("refused", "not 'a' of 1"),
        "climbs": ("missing", "unsafe path"),
        "turns": ("missing", "unsafe path"),
        "absolute": ("missing", "unsafe path"),
        "hidden": ("missing", "begins with a dot"),
        "linked": ("missing", "symbolic link"),
    }
    shards = {name: Shard(name, {"x/a": PIECE}) for name in expected}
    told.want(good, *shards.values())
    for name, shard in shards.items():
        shard.put(outside if name in {"climbs", "absolute", "linked"} else root)
    good.put(root)
    shards["hidden"].put(root / ".staging")
    (root / "linked").symlink_to(outside / "linked")
    told.torrents[shards["other"].infohash] = good.torrent
    told.torrents[shards["broken"].infohash] = b"d4:info"
    del told.torrents[shards["lost"].infohash]
    changes: dict[str, dict[str, Any]] = {
        "renamed": {"name": "b"},
        "resized": {"size": 1},
        "climbs": {"folder": "../../climbs/v1/x"},
        "turns": {"folder": "turns/v1/y/../x"},
        "absolute": {"folder": str(outside / "absolute" / "v1" / "x")},
        "hidden": {"folder": ".staging/hidden/v1/x"},
    }
    told.seeds = [shard.seed(**changes.get(name, {})) for name, shard in shards.items()]
    told.seeds += [{"infohash": "no"}, 7, good.seed(extra=1), good.seed(), good.seed()]
    with running(settings, told.url) as seeder:
        assert seeder.sync() == {"ok": True, "seeding": 1}
        assert downloads(seeder, good, tmp_path / "p")
        refused = [line["reason"] for line in seeder.log if line["event"] == "refused"]
    assert [reason.split(":")[0] for reason in refused] == [
        "seed 10 is malformed",
        "seed 11 is malformed",
        "seed 12 is malformed",
        f"seed 14 repeats the infohash {good.infohash}",
    ]
    for name, (state, reason) in expected.items():
        reported = told.last(shards[name].infohash)
        assert reported["state"] == state, reported
        assert reason in reported["error"], reported


def test_files_are_seeded_when_they_are_in_place(tmp_path: Path, told: Centre) -> None:
    settings = site(tmp_path)
    shard = Shard("ds", {"a": PIECE, "b/c": 5})
    told.want(shard)
    with running(settings, told.url) as seeder:

        def state() -> tuple[int, str]:
            return seeder.sync()["seeding"], seeder.torrent(shard.infohash)["error"]

        assert state() == (0, "'ds/v1/a' is not in place: No such file or directory")
        shard.put(settings.store_root)
        assert state() == (1, "")
        place = shard.place(settings.store_root, "b/c")
        place.write_bytes(b"four")
        assert state() == (0, "'ds/v1/b/c' has 4 bytes instead of 5")
        place.unlink()
        place.symlink_to(shard.place(settings.store_root, "a"))
        assert state() == (0, "'ds/v1/b/c' is no plain file")
        place.unlink()
        shard.put(settings.store_root)
        assert state() == (1, "")
        assert downloads(seeder, shard, tmp_path / "p")
