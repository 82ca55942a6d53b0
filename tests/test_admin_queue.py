"""What an admin enqueues by name, with the celery command, is consumed by the centre."""

import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from sqlmodel import select

from fleet.cli.demo.origin import Origin
from fleet.control import progress
from fleet.store.tables import Rule, Version
from tests.databases import Databases
from tests.running_fleet import RunningFleet, running_fleet


@pytest.mark.timeout(180)
def test_a_mirror_enqueued_with_the_celery_command_is_carried_out_once(
    tmp_path_factory: pytest.TempPathFactory, sqlite_databases: Databases
) -> None:
    source, home = tmp_path_factory.mktemp("o"), tmp_path_factory.mktemp("h")
    (source / "a.csv").write_bytes(b"a,b\n" * 1000)
    (source / "b.csv").write_bytes(b"c,d\n" * 1000)
    origin = Origin(source)
    threading.Thread(target=origin.serve_forever, daemon=True).start()
    imports = home / "imports"
    imports.mkdir()
    (imports / "list.txt").write_text(f"{origin.url}/a.csv\n{origin.url}/b.csv\n")
    with running_fleet(home, sqlite_databases.make(), tick_seconds=0.2) as fleet:
        fleet.until("all programs ready", fleet.all_ready)
        for _ in range(2):  # asked for twice, it is done once
            _enqueue(fleet, imports / "list.txt")
        fleet.until("the dataset is mirrored", lambda: _complete(fleet), seconds=60)
        _enqueue(fleet, Path("/etc/hostname"))
        log = home / "logs" / "consumer.log"
        fleet.until("the refusal", lambda: "FLEET_IMPORT_ROOT" in log.read_text(), seconds=20)
        with fleet.store.read() as session:
            [rule] = session.exec(select(Rule)).all()
            assert len(session.exec(select(Version)).all()) == 1
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


def _complete(fleet: RunningFleet) -> bool:
    with fleet.store.read() as session:
        version = session.exec(select(Version)).first()
        return version is not None and progress.of(session, version.id).complete
