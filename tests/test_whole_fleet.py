"""What one fleet of real processes does: with a hostile list, and with what an admin enqueues."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
from sqlmodel import select

from fleet.cli.demo.origin import Origin
from fleet.cli.main import INCOMPLETE
from fleet.control import progress
from fleet.store.tables import Artifact, Rule, Site, Version
from tests.databases import Databases
from tests.fault_server import FaultServer
from tests.running_fleet import RunningFleet, running_fleet

GOOD = {f"good-{number}.csv": f"row {number}\n".encode() * 5000 for number in range(5)}


@pytest.fixture(scope="module")
def fleet(
    tmp_path_factory: pytest.TempPathFactory, sqlite_databases: Databases
) -> Iterator[RunningFleet]:
    """A fleet that is ready; to start one takes longer than each of these tests."""
    with running_fleet(
        tmp_path_factory.mktemp("h"),
        sqlite_databases.make(),
        tick_seconds=0.2,
        retry_seconds=0.1,
        max_attempts=2,
        max_artifact_bytes=50e6,
    ) as running:
        running.until("all programs ready", running.all_ready)
        yield running


@pytest.mark.timeout(240)
def test_each_bad_item_of_a_list_ends_in_one_clear_line_and_the_good_ones_arrive(
    fleet: RunningFleet, tmp_path: Path
) -> None:
    with FaultServer() as server:
        wanted = _expectations(server)
        listing = tmp_path / "hostile.txt"
        listing.write_text("\n".join([*wanted, *(server.serve(*good) for good in GOOD.items())]))
        mirror = subprocess.Popen(
            [sys.executable, "-m", "fleet", "mirror", str(listing), "--dataset", "bad", "--wait"],
            env=dict(fleet.tree.programs[1].env) | {"COLUMNS": "500"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        fleet.until("the command's end", lambda: mirror.poll() is not None, seconds=150)
        told = mirror.stdout.read() if mirror.stdout else ""
        assert mirror.returncode == INCOMPLETE, told + fleet.last_words()
        lines = told.splitlines()
        for item, reason in wanted.items():
            assert any(reason in line for line in lines), f"{item}: {reason!r} not in\n{told}"
        for site in ("toronto", "amsterdam", "netcup"):
            found = _visible(fleet.home / "sites" / site / "data", but="queued")
            assert b"good-0.csv" in found.pop("manifest.json")
            assert found == GOOD
            assert _offered(fleet, site) == {*GOOD, "manifest.json"}


def _expectations(server: FaultServer) -> dict[str, str]:
    """The hostile lines of the list, each with what its reason must say."""
    megabyte = bytes(range(256)) * 4096
    return {
        f"{server.serve('passwd.csv', b'x')}\n  out=../../etc/passwd": "../../etc/passwd",
        "file:///etc/passwd": "not an http or https URL",
        "http://10.1.2.3/private.zip": "its address 10.1.2.3 is not public",
        "http://[::ffff:169.254.169.254]/meta.zip": "is not public",
        server.serve(
            "hop.zip", b"", fault="redirect", location="http://192.168.7.7/inner.zip"
        ): "192.168.7.7 is not public",
        server.serve("huge.zip", b"k" * 1000, fault="huge_length"): "huge.zip",
        server.serve("page.zip", megabyte, fault="html"): "page.zip",
        server.serve("endless.zip", megabyte, fault="endless_chunked"): "50000000",
        server.serve("short.zip", megabyte, fault="truncated", cuts=(1000,) * 99): "short.zip",
        server.serve("moving.zip", megabyte, fault="changing"): "changed",
    }


def _offered(fleet: RunningFleet, site: str) -> set[str]:
    """The names of the list that a site's door serves."""
    with fleet.store.read() as session:
        version = session.exec(select(Version).where(Version.dataset_id == "bad")).one()
        door = session.get_one(Site, site).read_url
        paths = session.exec(select(Artifact.path).where(Artifact.version_id == version.id)).all()
    found = set()
    for path in [*paths, "../../../../etc/passwd", "passwd.csv"]:
        answer = httpx.get(f"{door}/{version.dataset_id}/{version.label}/{quote(path)}")
        if answer.status_code == httpx.codes.OK:
            found.add(path)
    return found


def _visible(root: Path, but: str) -> dict[str, bytes]:
    """All that a reader of a site's folder sees, but for one dataset of another test."""
    paths = {path: path.relative_to(root).parts for path in root.rglob("*") if path.is_file()}
    return {
        path.name: path.read_bytes()
        for path, parts in paths.items()
        if parts[0] != but and not any(part.startswith(".") for part in parts)
    }


@pytest.mark.timeout(180)
def test_a_mirror_enqueued_with_the_celery_command_is_carried_out_once(
    fleet: RunningFleet, tmp_path: Path
) -> None:
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_bytes(name.encode() * 1000)
    origin = Origin(tmp_path)
    threading.Thread(target=origin.serve_forever, daemon=True).start()
    imports = fleet.home / "imports"
    imports.mkdir()
    (imports / "list.txt").write_text(f"{origin.url}/a.csv\n{origin.url}/b.csv\n")
    for _ in range(2):  # asked for twice, it is done once
        _enqueue(fleet, imports / "list.txt")
    fleet.until("the dataset is mirrored", lambda: _complete(fleet), seconds=60)
    _enqueue(fleet, Path("/etc/hostname"))
    log = fleet.home / "logs" / "consumer.log"
    fleet.until("the refusal", lambda: "FLEET_IMPORT_ROOT" in log.read_text(), seconds=20)
    with fleet.store.read() as session:
        [rule] = session.exec(select(Rule).where(Rule.dataset_id == "queued")).all()
    assert len(_queued(fleet)) == 1
    assert (rule.copies, rule.selector) == (2, "kind=node")


def _enqueue(fleet: RunningFleet, source: Path) -> None:
    arguments = json.dumps([str(source), {"copies": 2, "min": 2}, "queued"])
    subprocess.run(
        [
            *(sys.executable, "-m", "celery", "--app=fleet.control.consumer", "call"),
            *("fleet.mirror_dataset", f"--args={arguments}", "--queue=admin"),
        ],
        env=dict(fleet.tree.programs[1].env),
        check=True,
        stdout=subprocess.DEVNULL,
    )


def _queued(fleet: RunningFleet) -> list[str]:
    """The versions of the dataset that was enqueued."""
    with fleet.store.read() as session:
        return list(session.exec(select(Version.id).where(Version.dataset_id == "queued")).all())


def _complete(fleet: RunningFleet) -> bool:
    with fleet.store.read() as session:
        return any(progress.of(session, version).complete for version in _queued(fleet))
