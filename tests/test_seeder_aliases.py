"""Torrents that others made, seeded by a real seeder from the files that ours are seeded from."""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import libtorrent as lt
import pytest

from fleet.control import aliases
from fleet.settings import SiteSettings
from fleet.store.database import Store
from fleet.torrent.parsed import parse
from fleet.torrent.reissue import reissue
from tests.alias_support import HYBRID, Held, made
from tests.api_support import served, three_sites
from tests.seeder_support import PATIENCE, PIECE, Centre, Shard, aria2, running, site
from workers.seeder.fetch import fetch

LONE = {"raw/lone #é.bin": 20 * PIECE + 7}
BUNDLE = {"a.bin": 3 * PIECE - 1, "empty": 0, "raw/b.bin": 2 * PIECE + 1, "z": PIECE}
needs_aria2 = pytest.mark.skipif(
    not shutil.which("aria2c"), reason="needs aria2c (Debian package aria2)"
)


@pytest.fixture
def told() -> Iterator[Centre]:
    """The centre that the seeder is told of."""
    centre = Centre()
    yield centre
    centre.close()


def alias_of(shard: Shard, torrent: bytes, path: str = "", **changes: Any) -> dict[str, Any]:
    """What a centre says of a torrent that others made of a shard, or of its lone file."""
    parsed = parse(torrent)
    return {
        "infohash": parsed.infohash,
        "shard": f"shard-of-{shard.dataset}",
        "folder": f"{shard.dataset}/v1/{path}".removesuffix("/"),
        "name": parsed.name,
        "size": parsed.size,
        "inside": parsed.name,
    } | changes


def want(told: Centre, shard: Shard, *torrents: tuple[dict[str, Any], bytes]) -> None:
    """Have the shard's own torrent seeded, and these beside it."""
    told.want(shard)
    for seed, torrent in torrents:
        told.seeds.append(seed)
        told.torrents[str(seed["infohash"])] = torrent


def tree(root: Path) -> dict[str, tuple[int, int, int]]:
    """Every file below a root, with what would change if it were written or linked."""
    found = {path: path.lstat() for path in root.rglob("*") if not path.is_dir()}
    return {
        str(path.relative_to(root)): (about.st_ino, about.st_nlink, about.st_mtime_ns)
        for path, about in found.items()
    }


def by_libtorrent(torrent: bytes, into: Path, port: int) -> None:
    """Download as a libtorrent client would that knows padding and v2."""
    session = lt.session(
        {
            "listen_interfaces": "127.0.0.1:0",
            "enable_dht": False,
            "enable_lsd": False,
            "tick_interval": 100,
        }
    )
    params = lt.load_torrent_buffer(torrent)
    params.url_seeds, params.trackers = [], []
    params.save_path = str(into)
    params.peers = [("127.0.0.1", port)]
    handle = session.add_torrent(params)
    deadline = time.monotonic() + PATIENCE
    while not handle.status().is_seeding:
        assert time.monotonic() < deadline, handle.status().state
        session.wait_for_alert(100)
        session.pop_alerts()


@needs_aria2
def test_aria2_downloads_an_alias_while_the_shards_own_is_served_from_the_same_file(
    tmp_path: Path, told: Centre
) -> None:
    settings = site(tmp_path)
    shard = Shard("ds", LONE)
    shard.put(settings.store_root)
    [(path, data)] = shard.files.items()
    theirs = made(tmp_path / "made", "renamed by others.bin", {"": data}, piece=4 * PIECE)
    torrent = reissue(theirs, web_seeds=(), trackers=(told.tracker,))
    want(told, shard, (alias_of(shard, torrent, path), torrent))
    before = tree(settings.store_root)
    with running(settings, told.url) as seeder:
        assert seeder.sync() == {"ok": True, "seeding": 2}
        told.peers = [("127.0.0.1", seeder.ready()["bittorrent"])]
        done = aria2(torrent, tmp_path / "peer", "")
        own = fetch(shard.torrent, tmp_path / "own", told.peers, timeout=20)
        assert {one["state"] for one in seeder.status()["torrents"]} == {"seeding"}
    assert done.returncode == 0, done.stdout
    assert own.ok, own
    assert (tmp_path / "peer" / "renamed by others.bin").read_bytes() == data
    assert tree(settings.store_root) == before


@pytest.mark.parametrize("flags", [lt.create_torrent.v1_only, HYBRID], ids=["v1", "hybrid"])
def test_a_folder_in_another_order_and_with_padding_is_seeded_from_where_its_files_lie(
    flags: Any, tmp_path: Path, told: Centre
) -> None:
    settings = site(tmp_path)
    shard = Shard("ds", BUNDLE)
    shard.put(settings.store_root)
    # the v2 half of a hybrid wants its files in order
    paths = sorted(BUNDLE, reverse=flags != HYBRID)
    torrent = made(
        tmp_path / "made", "theirs", {path: shard.files[path] for path in paths}, flags=flags
    )
    want(told, shard, (alias_of(shard, torrent), torrent))
    before = tree(settings.store_root)
    with running(settings, told.url) as seeder:
        assert seeder.sync() == {"ok": True, "seeding": 2}
        by_libtorrent(torrent, tmp_path / "peer", seeder.ready()["bittorrent"])
        assert seeder.torrent(parse(torrent).infohash)["state"] == "seeding"
    for path, data in shard.files.items():
        assert (tmp_path / "peer" / "theirs" / path).read_bytes() == data
    assert tree(settings.store_root) == before


def test_an_alias_is_seeded_only_while_its_files_are_in_place(tmp_path: Path, told: Centre) -> None:
    settings = site(tmp_path)
    shard = Shard("ds", BUNDLE)
    shard.put(settings.store_root)
    torrent = made(tmp_path / "made", "theirs", shard.files)
    infohash = parse(torrent).infohash
    want(told, shard, (alias_of(shard, torrent), torrent))
    with running(settings, told.url) as seeder:
        assert seeder.sync()["seeding"] == 2
        shard.place(settings.store_root, "z").unlink()
        assert seeder.sync()["seeding"] == 0
        assert seeder.torrent(infohash)["error"].startswith("'ds/v1/z' is not in place")
        shard.put(settings.store_root)
        assert seeder.sync()["seeding"] == 2


def test_hostile_places_are_refused_and_harm_no_other(tmp_path: Path, told: Centre) -> None:
    settings = site(tmp_path)
    shard = Shard("ds", {"a": PIECE})
    shard.put(settings.store_root)
    (tmp_path / "secret").write_bytes(shard.files["a"])
    shard.place(settings.store_root, "linked").symlink_to(tmp_path / "secret")
    expected: dict[str, tuple[dict[str, str], str, str]] = {
        "climbs": ({"folder": "../../secret"}, "missing", "unsafe path"),
        "absolute": ({"folder": str(tmp_path / "secret")}, "missing", "unsafe path"),
        "linked": ({"folder": "ds/v1/linked"}, "missing", "is no plain file"),
        "hidden": ({"folder": ".staging/a"}, "missing", "unsafe path"),
        "beside": ({"inside": "besi"}, "refused", "'beside' is not inside 'besi'"),
        "other": ({"folder": "ds/v1/other"}, "missing", "is not in place"),
    }
    torrents = {name: made(tmp_path / name, name, {"": shard.files["a"]}) for name in expected}
    seeds = [
        (alias_of(shard, torrents[name], "a", **changes), torrents[name])
        for name, (changes, _, _) in expected.items()
    ]
    want(told, shard, *seeds)
    with running(settings, told.url) as seeder:
        assert seeder.sync() == {"ok": True, "seeding": 1}
    for name, (_, state, reason) in expected.items():
        reported = told.last(parse(torrents[name]).infohash)
        assert reported["state"] == state, reported
        assert reason in reported["error"], reported


@needs_aria2
def test_a_torrent_that_is_taken_up_is_downloaded_from_a_site_that_holds_its_bytes(
    sqlite_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: Centre
) -> None:
    settings = SiteSettings(home=tmp_path / "h", site="toronto", site_token="unused")
    held = Held(three_sites(sqlite_store, tmp_path), settings.store_root, monkeypatch, BUNDLE)
    theirs = made(tmp_path / "made", "theirs", held.files)
    infohash = parse(theirs).infohash
    with (
        served(held.centre) as api,
        running(settings, api.url, FLEET_SITE_TOKEN=api.token("toronto")) as seeder,
    ):
        assert seeder.sync() == {"ok": True, "seeding": 1}
        aliases.adopt(sqlite_store, theirs)
        held.checks()
        assert seeder.sync() == {"ok": True, "seeding": 2}
        told.peers = [("127.0.0.1", seeder.ready()["bittorrent"])]
        public = api.get(f"/api/v1/torrents/{infohash}.torrent").content
        done = aria2(reissue(public, web_seeds=(), trackers=(told.tracker,)), tmp_path / "peer", "")
    assert done.returncode == 0, done.stdout
    for path, data in held.files.items():
        assert (tmp_path / "peer" / "theirs" / path).read_bytes() == data
