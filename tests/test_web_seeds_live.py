"""Web seeds of a whole fleet as real processes: proved over HTTP soon, dropped when they fail."""

import threading
from pathlib import Path

import pytest
from sqlmodel import col, select

from fleet.cli.demo.origin import Origin
from fleet.control import blobs, mirror, torrents
from fleet.store.tables import Artifact, Shard
from fleet.torrent.merkle import layer_fault
from fleet.torrent.parsed import parse
from tests.databases import Databases
from tests.pull_support import noise
from tests.running_fleet import RunningFleet, running_fleet

PIECE = 256 * 1024


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.timeout(300)
def test_a_new_datasets_web_seeds_are_proved_in_a_minute_and_dropped_when_they_die(
    tmp_path_factory: pytest.TempPathFactory, sqlite_databases: Databases
) -> None:
    source = tmp_path_factory.mktemp("origin")
    names = _make_files(source)
    origin = Origin(source)
    threading.Thread(target=origin.serve_forever, daemon=True).start()
    home = tmp_path_factory.mktemp("fleet")
    with running_fleet(
        home, sqlite_databases.make(), tick_seconds=0.2, alone_from=1e6, probe_seconds=2
    ) as fleet:
        relays = fleet.relay_doors()
        fleet.until("all programs ready", fleet.all_ready)
        listing = home / "list.txt"
        listing.write_text("".join(f"{origin.url}/{name}\n" for name in names))
        mirror.mirror_dataset(fleet.store, str(listing), dataset="data")
        doors = {relay.url for relay in relays}
        fleet.until("a torrent each", lambda: len(_listed(fleet)) == 4, 60)  # with the manifest
        took = fleet.until("all of them proved", lambda: _all_name(fleet, doors), 60)
        print(f"all web seeds were proved {took:.1f} s after the last torrent was made")
        _check_layers(fleet)
        dead = relays[0]
        dead.shutdown()
        dead.server_close()
        fleet.until("the dead door dropped", lambda: _all_name(fleet, doors - {dead.url}), 60)
    origin.shutdown()


def _make_files(folder: Path) -> list[str]:
    """Two files that are a shard each, and some that are one together."""
    sizes = {"large.bin": 3_000_000, "other.bin": 1_500_000}
    sizes |= {f"{number}.csv": 1000 * (number + 1) for number in range(8)}
    for seed, (name, size) in enumerate(sizes.items()):
        (folder / name).write_bytes(noise(size, seed=seed))
    return list(sizes)


def _listed(fleet: RunningFleet) -> list[set[str]]:
    """The web seeds of each torrent, as http://host:port."""
    with fleet.store.read() as session:
        infohashes = session.exec(select(Shard.infohash)).all()
        if not all(infohashes):
            return []
        found = [parse(torrents.torrent_file(session, one or "")) for one in infohashes]
    return [{"/".join(url.split("/")[:3]) for url in one.web_seeds} for one in found]


def _all_name(fleet: RunningFleet, doors: set[str]) -> bool:
    return all(one == doors for one in _listed(fleet))


def _check_layers(fleet: RunningFleet) -> None:
    """Real workers sent the layers of the large files, and the centre keeps them."""
    with fleet.store.read() as session:
        large = session.exec(select(Artifact).where(col(Artifact.layer).is_not(None))).all()
        assert {one.path for one in large} == {"large.bin", "other.bin"}
        for one in large:
            layer = blobs.read(fleet.store, one.layer or "")
            root = bytes.fromhex(one.bep52_root or "")
            assert layer_fault(layer, one.size or 0, PIECE, root) == ""
