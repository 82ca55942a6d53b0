"""Sites on networks of their own: shards move by torrent alone, also past nodes nobody can call.

Every site is a host of its own where its worker and its seeder run, without an HTTP door; the
centre is another.  The broker is reached by its socket on disk.  The origin is on the loopback of
the one site that may ask it, so that the others have nothing but BitTorrent.
"""

import hashlib
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
from sqlmodel import select

from fleet.cli.demo.origin import Origin
from fleet.cli.supervisor import Program, Supervisor
from fleet.cli.tree import answers
from fleet.control import mirror, progress
from fleet.control.rules import RuleSpec
from fleet.store.tables import Observation, Rule, Shard, Site
from tests.databases import Databases
from tests.namespaces import NETWORK, Host, hosts, missing
from tests.running_fleet import RunningFleet, running_fleet

FILES = {"large.bin": 12_000_000, "small/a.bin": 700_001, "small/b.bin": 1_300_003}
BYTES = sum(FILES.values())
PORT = 6881
CENTRE_PORT = 8484

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


@pytest.fixture
def places() -> Iterator[dict[str, Host]]:
    if reason := missing():
        pytest.skip(reason)
    with hosts("centre", "toronto", "amsterdam", "netcup") as made:
        yield dict(zip(("centre", "toronto", "amsterdam", "netcup"), made, strict=True))


def test_a_shard_moves_between_two_networks_by_torrent_alone(
    places: dict[str, Host], tmp_path: Path, sqlite_databases: Databases
) -> None:
    both = {"toronto", "amsterdam"}
    with spread(tmp_path, sqlite_databases, places, callable_sites=both) as fleet:
        digests = arrive_at_toronto(fleet, places, tmp_path)
        copied = copy_to(fleet, "id=toronto | id=amsterdam")
    assert on_disk(tmp_path, "amsterdam") == digests
    assert_brought_whole(copied, "amsterdam")


def test_two_sites_that_nobody_can_call_meet_at_a_third(
    places: dict[str, Host], tmp_path: Path, sqlite_databases: Databases
) -> None:
    for name in ("toronto", "amsterdam"):
        places[name].take_no_calls()
    with spread(tmp_path, sqlite_databases, places, callable_sites={"netcup"}) as fleet:
        digests = arrive_at_toronto(fleet, places, tmp_path)
        copied = copy_to(fleet, "kind=node")
    assert on_disk(tmp_path, "amsterdam") == on_disk(tmp_path, "netcup") == digests
    assert_brought_whole(copied, "amsterdam", "netcup")


@contextmanager
def spread(
    home: Path, databases: Databases, places: Mapping[str, Host], callable_sites: set[str]
) -> Iterator[RunningFleet]:
    """A fleet whose programs run on their sites' hosts; all others are the centre's."""
    settings = {"lease_seconds": 10.0, "tick_seconds": 0.2, "retry_seconds": 0.5}
    with running_fleet(home, databases.make(), **settings, alone_from=4_000_000) as fleet:
        centre = f"http://{places['centre'].address}:{CENTRE_PORT}"
        programs = [moved(one, places, centre) for one in fleet.tree.programs]
        fleet.supervisor = Supervisor(programs, on_event=fleet.events.append, grace=15)
        with fleet.store.write() as session:
            for site in session.exec(select(Site)).all():
                site.read_url = ""
                known = site.id in callable_sites
                site.peer = f"{places[site.id].address}:{PORT}" if known else ""
        fleet.until("all programs ready", fleet.all_ready)
        yield fleet


def moved(program: Program, places: Mapping[str, Host], centre: str) -> Program:
    """The same program, on the host that it belongs to."""
    site = program.name.rpartition(" ")[2]
    host = places.get(site, places["centre"])
    env = {
        **program.env,
        "FLEET_CENTRE_URL": centre,
        "FLEET_LISTEN": centre.removeprefix("http://"),
        "FLEET_DOOR": "",
        "FLEET_BITTORRENT": f"{host.address}:{PORT}",
        "FLEET_ALLOW_NETWORKS": f"127.0.0.0/8, {NETWORK}0/24",
    }
    ready = None
    if program.name == "server":
        ready = lambda: host.call(lambda: answers(f"{centre}/api/v1/health"))  # noqa: E731
    elif program.ready is not None and not program.name.startswith("seeder "):
        ready = program.ready
    return replace(program, argv=host.command(program.argv), env=env, ready=ready)


def arrive_at_toronto(
    fleet: RunningFleet, places: Mapping[str, Host], home: Path
) -> dict[str, str]:
    """Publish a version that toronto alone holds; the digests of its files."""
    source, random = home / "origin", Random(1)
    digests = {}
    for path, size in FILES.items():
        place = source / path
        place.parent.mkdir(parents=True, exist_ok=True)
        data = random.randbytes(size)
        place.write_bytes(data)
        digests[path] = hashlib.sha256(data).hexdigest()
    origin = places["toronto"].call(lambda: Origin(source))
    threading.Thread(target=origin.serve_forever, daemon=True).start()
    listing = home / "list.txt"
    listing.write_text("".join(f"{origin.url}/{path}\n\tout={path}\n" for path in FILES))
    asked = mirror.mirror_dataset(fleet.store, str(listing), RuleSpec(selector="id=toronto"))
    settle(fleet, asked.version)
    origin.shutdown()
    origin.server_close()
    return digests


def copy_to(fleet: RunningFleet, selector: str) -> dict[str, int]:
    """Have the version held by more sites; the bytes that each of these brought by torrent."""
    with fleet.store.write() as session:
        for rule in session.exec(select(Rule)).all():
            rule.selector = selector
        shards = session.exec(select(Shard)).all()
        for shard in shards:
            shard.dirty = True
    settle(fleet, shards[0].version_id)
    brought: dict[str, int] = {}
    with fleet.store.read() as session:
        for seen in session.exec(select(Observation).where(Observation.kind == "traffic")).all():
            if str(seen.detail["host"]).startswith("btih:"):
                count = int(seen.detail["bytes"])
                brought[seen.observer] = brought.get(seen.observer, 0) + count
    return brought


def assert_brought_whole(brought: dict[str, int], *sites: str) -> None:
    """Each of these sites, and no other, got every byte by torrent; few blocks come twice."""
    assert set(brought) == set(sites)
    assert all(BYTES <= count < 1.1 * BYTES for count in brought.values()), brought


def settle(fleet: RunningFleet, version: str) -> None:
    """Wait until the version is where it shall be."""

    def complete() -> bool:
        with fleet.store.read() as session:
            return progress.of(session, version).complete

    fleet.until("everything where it shall be", complete, seconds=120)


def on_disk(home: Path, site: str) -> dict[str, str]:
    """The digests of the data files at a site, by their paths."""
    root = home / "sites" / site / "data"
    found = {
        "/".join(path.relative_to(root).parts[2:]): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in root.rglob("*")
        if path.is_file() and not path.relative_to(root).parts[0].startswith(".")
    }
    del found["manifest.json"]
    return found
