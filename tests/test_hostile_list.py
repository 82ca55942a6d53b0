"""A list in which almost everything is hostile, through a whole fleet of real processes."""

import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
from sqlmodel import select

from fleet.cli.main import INCOMPLETE
from fleet.store.tables import Artifact, Site, Version
from tests.fault_server import FaultServer
from tests.running_fleet import RunningFleet, running_fleet

GOOD = {f"good-{number}.csv": f"row {number}\n".encode() * 5000 for number in range(5)}


@pytest.mark.timeout(240)
def test_each_bad_item_ends_in_one_clear_line_and_the_good_ones_arrive(
    tmp_path_factory: pytest.TempPathFactory, sqlite_databases: object
) -> None:
    home = tmp_path_factory.mktemp("h")
    database = sqlite_databases.make()  # type: ignore[attr-defined]
    with (
        FaultServer() as server,
        running_fleet(
            home,
            database,
            tick_seconds=0.2,
            retry_seconds=0.1,
            max_attempts=2,
            max_artifact_bytes=50e6,
        ) as fleet,
    ):
        wanted = _expectations(server)
        listing = home / "hostile.txt"
        listing.write_text("\n".join([*wanted, *(server.serve(*good) for good in GOOD.items())]))
        fleet.until("all programs ready", fleet.all_ready)
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
            assert _visible(home / "sites" / site / "data") == GOOD
            assert _offered(fleet, site) == set(GOOD)


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
        version = session.exec(select(Version)).one()
        door = session.get_one(Site, site).read_url
        paths = session.exec(select(Artifact.path)).all()
    found = set()
    for path in [*paths, "../../../../etc/passwd", "passwd.csv"]:
        answer = httpx.get(f"{door}/{version.dataset_id}/{version.label}/{quote(path)}")
        if answer.status_code == httpx.codes.OK:
            found.add(path)
    return found


def _visible(root: Path) -> dict[str, bytes]:
    """All that a reader of a site's folder sees."""
    return {
        path.name: path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(root).parts)
    }
