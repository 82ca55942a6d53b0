"""A catalogue by real processes: written, signed, mirrored, and had without the centre."""

import json
import os
import subprocess
import sys

import pyarrow.parquet as pq
import pytest
from sqlmodel import col, select

from fleet.catalogue.signing import rotation
from fleet.control import mirror
from fleet.planning.press import DATASET
from fleet.store import migrate
from fleet.store.tables import Replica, Shard, Site, Version
from tests.running_fleet import RunningFleet, kill, running_fleet

CENTRE = ("server", "scheduler", "consumer")


def editions(fleet: RunningFleet) -> dict[str, str]:
    """The newest edition's label, by the doors of the sites that have all of it."""
    with fleet.store.read() as session:
        newest = session.exec(
            select(Version)
            .where(Version.dataset_id == DATASET, Version.state == "published")
            .order_by(col(Version.id).desc())
        ).first()
        if newest is None:
            return {}
        held = session.exec(
            select(Site.read_url)
            .join(Replica, col(Replica.site_id) == col(Site.id))
            .join(Shard, col(Shard.id) == col(Replica.shard_id))
            .where(Shard.version_id == newest.id, Replica.state == "available")
        ).all()
        return {url: newest.label for url in held if held.count(url) == 2}


@pytest.mark.slow
@pytest.mark.timeout(900)  # of which a minute is the quiet that a change waits for
def test_a_fleet_s_catalogue_is_had_from_a_node_once_the_centre_is_gone(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    home = tmp_path_factory.mktemp("c")
    source = home / "roads"
    source.mkdir()
    (source / "roads.csv").write_text("id\n1\n")
    url = f"sqlite:///{home / 'fleet.db'}"
    migrate.upgrade(url)
    with running_fleet(home, url, catalogue=True, tick_seconds=0.5) as fleet:
        mirror.mirror_dataset(fleet.store, str(source), dataset="roads")
        fleet.until("an edition is at every node", lambda: len(editions(fleet)) == 3, 400)
        [root] = rotation.roots(home / "catalogue")
        for name in CENTRE:
            kill(fleet.pid(name))
        door, label = next(iter(editions(fleet).items()))
        folder = home / "client"
        command = [sys.executable, "-m", "fleet", "catalogue", "sync", f"{door}/{DATASET}/{label}/"]
        command += ["--to", str(folder), "--root-sha256", root.sha256, "--json"]
        env = os.environ | {"FLEET_HOME": str(home / "elsewhere")}
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
        told = json.loads(done.stdout)
        assert (told["changed"], told["refused"]) == (True, [])
        rows = pq.read_table(folder / "current" / "catalogue.parquet").to_pylist()
        assert [row["collection"] for row in rows] == ["roads"]
        assert "catalogue" in {path.stem for path in (folder / "current").iterdir()}
