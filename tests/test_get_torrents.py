"""`fleet get` by BitTorrent: where mirrors have nothing, beside them, and whoever lies."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from threading import Timer

import pytest

from fleet.cli.get import lanes
from tests.fault_exchange import Exchange
from tests.fault_kinds import none
from tests.get_support import (
    DATASET,
    MANIFEST,
    Made,
    User,
    World,
    downloading,
    made,
    peer,
    world,
)
from tests.pull_support import noise, until

MIB = 1024 * 1024
BUNDLE = {f"tables/{number}.csv": noise(100_000 + number, number) for number in range(6)}
LARGE = {"a.parquet": noise(9 * MIB, 100), "b.parquet": noise(9 * MIB + 1, 101)}
UNEVEN = {"a.bin": noise(6 * MIB, 102), "b.bin": noise(2 * MIB + 1, 103)}
SHARDS = [list(BUNDLE), ["a.parquet"], ["b.parquet"], [MANIFEST]]


@pytest.fixture
def there(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path) as found:
        yield found


@pytest.fixture
def user(
    there: World,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> User:
    return downloading(there, tmp_path, monkeypatch, capsys)


def by_peers(told: list[dict[str, int | str]]) -> int:
    """The bytes that came from peers."""
    return sum(int(one["bytes"]) for one in told if str(one["host"]).startswith("btih:"))


@pytest.mark.parametrize("given", [True, False])
def test_what_no_mirror_has_comes_from_peers(
    there: World, user: User, tmp_path: Path, given: bool
) -> None:
    """With the torrent's file from the centre, or by its infohash alone."""
    before = made(BUNDLE, [list(BUNDLE)])
    with peer(before, before.infohash, tmp_path / "peer") as address:
        host, _, port = address.rpartition(":")
        version = there.tell(made(BUNDLE, [list(BUNDLE)], [(host, int(port))]))
        if not given:
            del there.centre.files[f"api/v1/torrents/{version.infohash}.torrent"]

        ended = user.get(DATASET, "tables", "--json")

    assert ended.code == 0, ended
    assert user.files() == BUNDLE
    assert by_peers(ended.json["sources"]) >= sum(map(len, BUNDLE.values()))
    assert not (user.folder / ".staging").exists()


@pytest.mark.usefixtures("scripted")
def test_mirrors_and_peers_work_at_once(
    there: World, user: User, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mirror sends the first file only once peers have brought the last."""

    def waiting(exchange: Exchange) -> None:
        until((user.folder / "b.parquet").exists, seconds=60)
        none(exchange)

    monkeypatch.setenv("FLEET_STALL_SECONDS", "60")
    before = made(LARGE, [["a.parquet"], ["b.parquet"]])
    with peer(before, before.entry.shards[1].infohash, tmp_path / "peer") as address:
        host, _, port = address.rpartition(":")
        again = made(LARGE, [["a.parquet"], ["b.parquet"]], [(host, int(port))])
        there.tell(again, "toronto")
        mirror = there.mirrors["toronto"]
        mirror.serve(there.at("a.parquet"), LARGE["a.parquet"], "scripted", answer=waiting)

        ended = user.get(DATASET, "a.parquet", "b.parquet", "--json")

    assert ended.code == 0, ended
    assert user.files() == LARGE
    assert by_peers(ended.json["sources"]) >= len(LARGE["b.parquet"])
    assert mirror.sent[there.at("a.parquet")] >= len(LARGE["a.parquet"])
    assert mirror.asked(there.at("b.parquet")) == []
    every = sum(map(len, LARGE.values()))
    assert every <= ended.json["bytes"] < 1.1 * every


def test_what_mirrors_have_wrong_comes_from_peers(there: World, user: User, tmp_path: Path) -> None:
    before = made(BUNDLE, [list(BUNDLE)])
    with peer(before, before.infohash, tmp_path / "peer") as address:
        host, _, port = address.rpartition(":")
        version = there.tell(made(BUNDLE, [list(BUNDLE)], [(host, int(port))]), "toronto")
        there.serve(version, "toronto")
        there.lie("toronto", "tables/3.csv", BUNDLE["tables/3.csv"])

        ended = user.get(DATASET, "tables", "--json")

    assert ended.code == 0, ended
    assert user.files() == BUNDLE
    assert ("toronto", "tables/3.csv") in [
        (one["site"], one["path"]) for one in ended.json["corrupt"]
    ]
    assert by_peers(ended.json["sources"]) >= len(BUNDLE["tables/3.csv"])


def test_a_peer_that_lies_is_named_and_mirrors_bring_it(
    there: World, user: User, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = made(LARGE, [["a.parquet"], ["b.parquet"]])
    with peer(before, before.entry.shards[1].infohash, tmp_path / "liar", lies=True) as address:
        host, _, port = address.rpartition(":")
        again = made(LARGE, [["a.parquet"], ["b.parquet"]], [(host, int(port))])
        version = there.tell(again, "toronto")
        there.serve(version, "toronto")

        ended = user.get(DATASET, "--json")

    assert ended.code == 0, ended
    assert user.files() == version.files
    assert ended.json["corrupt"] == []


def test_from_lying_peers_alone_nothing_comes(there: World, user: User, tmp_path: Path) -> None:
    before = made(BUNDLE, [list(BUNDLE)])
    with peer(before, before.infohash, tmp_path / "liar", lies=True) as address:
        host, _, port = address.rpartition(":")
        there.tell(made(BUNDLE, [list(BUNDLE)], [(host, int(port))]))

        ended = user.get(DATASET, "tables")

    assert (ended.code, ended.out) == (1, ""), ended
    assert user.files() == {}
    assert "by torrent: " in ended.err


def test_peers_at_private_addresses_are_not_dialled(
    there: World, user: User, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = made(BUNDLE, [list(BUNDLE)])
    with peer(before, before.infohash, tmp_path / "peer") as address:
        port = address.rpartition(":")[2]
        there.tell(made(BUNDLE, [list(BUNDLE)], [("127.0.0.2", int(port))]))
        monkeypatch.setenv("FLEET_ALLOW_NETWORKS", "127.0.0.1/32")

        ended = user.get(DATASET, "tables")

    assert ended.code == 1
    assert "peers connected: 0" in ended.err


def test_a_stopped_fetch_from_peers_is_gone_on_with(
    there: World, user: User, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLEET_STALL_SECONDS", "30")
    paths = {"a.bin": noise(6 * MIB, 7), "b.bin": noise(6 * MIB, 8), "c.bin": noise(9, 9)}
    before = made(paths, [["a.bin", "b.bin"]])
    with peer(before, before.infohash, tmp_path / "slow", rate=MIB) as address:
        host, _, port = address.rpartition(":")
        there.tell(made(paths, [["a.bin", "b.bin"]], [(host, int(port))]))
        with user.process(DATASET, "a.bin", "b.bin") as process:
            until(lambda: staged(user) >= 5 * MIB, seconds=60)
            process.send_signal(signal.SIGINT)
            said = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert said.endswith("run the same command to go on\n")
    assert user.files() == {}
    with peer(before, before.infohash, tmp_path / "fast") as address:
        host, _, port = address.rpartition(":")
        there.tell(made(paths, [["a.bin", "b.bin"]], [(host, int(port))]))

        ended = user.get(DATASET, "a.bin", "b.bin", "--json")

    assert ended.code == 0, ended
    assert user.files() == {path: paths[path] for path in ("a.bin", "b.bin")}
    assert by_peers(ended.json["sources"]) <= 8 * MIB


@pytest.mark.parametrize("gone", [True, False])
def test_no_honest_mirror_is_blamed_for_a_torrent_of_another_file(
    there: World, user: User, gone: bool
) -> None:
    """Two years' files have one name and one size; no list says which torrent is whose."""
    years = {f"{year}/data.bin": noise(MIB, year) for year in (2020, 2021)}
    version = there.tell(made(years, [[path] for path in years]), "amsterdam", "toronto")
    there.serve(version, "amsterdam", "toronto")
    for path in [path for path in there.centre.files if path.endswith("files.parquet")]:
        del there.centre.files[path]
    if gone:
        del there.centre.files[f"api/v1/torrents/{version.entry.shards[1].infohash}.torrent"]

    ended = user.get(DATASET, "2021/data.bin", "--json")

    assert ended.code == 0, ended
    assert user.files() == {"2021/data.bin": years["2021/data.bin"]}
    assert ended.json["corrupt"] == []
    assert [one["errors"] for one in ended.json["sources"]] == [0, 0]


def slowly(there: World, user: User, address: str) -> Made:
    """Have a slow peer begin with the last file before a mirror sends the first."""

    def waiting(exchange: Exchange) -> None:
        until(lambda: staged(user) > 0, seconds=60)
        none(exchange)

    host, _, port = address.rpartition(":")
    version = there.tell(made(UNEVEN, [["a.bin"], ["b.bin"]], [(host, int(port))]), "toronto")
    there.serve(version, "toronto")
    mirror = there.mirrors["toronto"]
    mirror.serve(there.at("a.bin"), UNEVEN["a.bin"], "scripted", answer=waiting)
    return version


@pytest.mark.usefixtures("scripted")
def test_peers_that_were_too_slow_are_asked_again_for_what_no_mirror_has(
    there: World, user: User, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLEET_STALL_SECONDS", "60")
    before = made(UNEVEN, [["a.bin"], ["b.bin"]])
    with peer(before, before.entry.shards[1].infohash, tmp_path / "peer", rate=MIB // 4) as address:
        slowly(there, user, address)
        del there.mirrors["toronto"].files[there.at("b.bin")]

        ended = user.get(DATASET, "a.bin", "b.bin", "--json")

    assert there.mirrors["toronto"].asked(there.at("b.bin"))
    assert ended.code == 0, ended
    assert user.files() == UNEVEN


@pytest.mark.usefixtures("scripted")
def test_nothing_is_left_of_what_mirrors_brought_before_peers_did(
    there: World, user: User, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLEET_STALL_SECONDS", "60")
    before = made(UNEVEN, [["a.bin"], ["b.bin"]])
    with peer(before, before.entry.shards[1].infohash, tmp_path / "peer", rate=MIB // 8) as address:
        slowly(there, user, address)

        ended = user.get(DATASET, "a.bin", "b.bin", "--json")

    assert there.mirrors["toronto"].asked(there.at("b.bin"))
    assert ended.code == 0, ended
    assert user.files() == UNEVEN
    assert not (user.folder / ".staging").exists()


def test_a_fault_of_ours_does_not_leave_peers_waiting(
    there: World, user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise RecursionError

    monkeypatch.setattr(lanes, "by_mirrors", fails)
    there.tell(made(UNEVEN, [["a.bin"], ["b.bin"]], [("127.0.0.1", 9)]), "toronto")

    rescue = Timer(60, os.kill, (os.getpid(), signal.SIGTERM))
    rescue.start()

    with pytest.raises(RecursionError):
        user.get(DATASET, "a.bin", "b.bin")

    assert rescue.is_alive()
    rescue.cancel()


def staged(user: User) -> int:
    files = (user.folder / ".staging").glob("btih-*/*")
    return sum(file.stat().st_blocks * 512 for file in files)


def test_peers_are_found_through_the_trackers_of_the_signed_link(
    there: World, user: User, tmp_path: Path
) -> None:
    before = made(BUNDLE, [list(BUNDLE)])
    with peer(before, before.infohash, tmp_path / "peer") as address:
        port = int(address.rpartition(":")[2])
        found = bytes((127, 0, 0, 1)) + port.to_bytes(2)
        tracker = there.centre.serve("announce", b"d8:intervali60e5:peers6:" + found + b"e")
        there.tell(made(BUNDLE, [list(BUNDLE)], trackers=[tracker]))

        ended = user.get(DATASET, "tables", "--json")

    assert ended.code == 0, ended
    assert user.files() == BUNDLE
    assert there.centre.asked("announce")


def test_slow_peers_keep_no_mirror_waiting() -> None:
    assert lanes.takes_over(left=100, peers_rate=1.0, size=100, http_rate=10.0, quiet=0.0)
    assert not lanes.takes_over(left=100, peers_rate=9.0, size=100, http_rate=10.0, quiet=0.0)
    assert not lanes.takes_over(left=1, peers_rate=1.0, size=100, http_rate=10.0, quiet=0.0)
    assert not lanes.takes_over(left=100, peers_rate=0.0, size=100, http_rate=10.0, quiet=9.0)
    assert lanes.takes_over(left=100, peers_rate=0.0, size=10, http_rate=10.0, quiet=3.0)
    assert not lanes.takes_over(left=100, peers_rate=0.0, size=10, http_rate=10.0, quiet=1.0)
    assert lanes.takes_over(left=100, peers_rate=0.0, size=100, http_rate=0.0, quiet=11.0)
