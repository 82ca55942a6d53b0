"""Everything arrives, whatever dies: the whole fleet as real processes, killed one by one."""

import hashlib
import json
import threading
import time
from datetime import timedelta
from pathlib import Path
from random import Random

import pytest
from kombu import Connection
from sqlmodel import select

from fleet.cli.broker import NAME as BROKER
from fleet.cli.demo.origin import Origin
from fleet.control import mirror, progress
from fleet.control.rules import RuleSpec
from fleet.store.tables import Attempt, Transfer
from tests.running_fleet import RunningFleet, children, kill, running_fleet

FILES = 40
FILE_BYTES = 10_000_000
LEASE = 5.0
RECOVERY = 15.0
SLOW = 12.0  # MB/s: so slow that every fault hits work under way


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.timeout(400)
def test_everything_arrives_once_whatever_dies(
    tmp_path_factory: pytest.TempPathFactory, database_url: str
) -> None:
    source = tmp_path_factory.mktemp("origin")
    digests = _make_files(source)
    origin = Origin(source, megabytes_per_second=SLOW)
    home = tmp_path_factory.mktemp("fleet")
    recoveries: dict[str, float] = {}
    fences: dict[str, int] = {}
    with running_fleet(
        home, database_url, lease_seconds=LEASE, tick_seconds=0.2, retry_seconds=0.5, alone_from=1e6
    ) as fleet:
        relays = fleet.relay_doors()
        fleet.until("all programs ready", fleet.all_ready)
        _serve(origin)
        listing = home / "list.txt"
        listing.write_text("".join(f"{origin.url}/{name}\n" for name in digests))
        rule = RuleSpec(selector="id=toronto | id=amsterdam")
        version = mirror.mirror_dataset(fleet.store, str(listing), rule, dataset="data").version
        for name, fault in FAULTS.items():
            fleet.until(f"work before {name}", fleet.running)
            recoveries[name] = _strike(fleet, fault)
            _check_fences(fleet, fences)
        fleet.until("everything mirrored", lambda: _settled(fleet, version), seconds=120)
        _check_fences(fleet, fences)
        with fleet.store.read() as session:
            done = progress.of(session, version)
            probed = sum(
                session.exec(
                    select(Attempt.bytes_fetched)
                    .join(Transfer, Transfer.id == Attempt.transfer_id)
                    .where(Transfer.kind == "probe")
                ).all()
            )
    assert done.complete, done
    assert (done.known, done.replicas_available) == (FILES + 1, 2 * (FILES + 1))
    for site in ("toronto", "amsterdam"):
        found = _on_disk(home / "sites" / site / "data")
        del found["manifest.json"]
        assert found == digests
    sent = origin.counters["bytes"] + sum(relay.bytes_back for relay in relays) - probed
    twice = sent / (2 * FILES * FILE_BYTES) - 1
    print(json.dumps({"recovery_seconds": recoveries, "fetched_twice": round(twice, 5)}))
    assert twice <= 0.02
    assert max(recoveries.values()) < RECOVERY


def _flush(fleet: RunningFleet) -> None:
    with Connection(fleet.tree.programs[-1].env["FLEET_BROKER_URL"]) as connection:
        connection.default_channel.client.flushall()


def _kill_worker(fleet: RunningFleet) -> None:
    kill(fleet.lanes("toronto")[0])


def _kill_pool_child(fleet: RunningFleet) -> None:
    kill(children(fleet.lanes("amsterdam")[0])[-1])


def _kill(name: str):  # noqa: ANN202
    return lambda fleet: kill(fleet.pid(name))


FAULTS = {
    "FLUSHALL": _flush,
    "kill worker": _kill_worker,
    "kill pool child": _kill_pool_child,
    "kill seeder": _kill("seeder toronto"),
    "kill scheduler": _kill("scheduler"),
    "kill server": _kill("server"),
    "kill broker": _kill(BROKER),
}


def _strike(fleet: RunningFleet, fault) -> float:  # noqa: ANN001
    """Do harm; return how many seconds passed until all of it was made good.

    It is when every program is ready again, when what was running has ended or has been renewed
    or claimed since, and when somebody has claimed new work, if there is any.
    """
    before = set(fleet.running())
    with fleet.store.read() as session:
        struck = fleet.store.now(session)
    fault(fleet)
    began = time.monotonic()
    fleet.until("recovery", lambda: fleet.all_ready() and _recovered(fleet, before, struck), 60)
    return round(time.monotonic() - began, 2)


def _recovered(fleet: RunningFleet, before: set[str], struck) -> bool:  # noqa: ANN001
    with fleet.store.read() as session:
        transfers = {row.id: row for row in session.exec(select(Transfer)).all()}
        attempts = {row.id: row for row in session.exec(select(Attempt)).all()}
    for transfer in before:
        row = transfers[transfer]
        if row.state == "done":
            continue
        attempt = attempts[row.attempt_id or ""]
        since = attempt.lease_until and attempt.lease_until - timedelta(seconds=LEASE)
        if row.state != "running" or not since or since <= struck:
            return False
    waiting = any(row.state in ("waiting", "announced") for row in transfers.values())
    return not waiting or any(
        row.claimed_at and row.claimed_at > struck for row in attempts.values()
    )


def _check_fences(fleet: RunningFleet, fences: dict[str, int]) -> None:
    with fleet.store.read() as session:
        for row in session.exec(select(Transfer)).all():
            assert row.fence >= fences.get(row.id, 0)
            fences[row.id] = row.fence


def _settled(fleet: RunningFleet, version: str) -> bool:
    with fleet.store.read() as session:
        return progress.of(session, version).settled


def _make_files(folder: Path) -> dict[str, str]:
    random = Random(1)
    digests = {}
    for number in range(FILES):
        data = random.randbytes(FILE_BYTES)
        (folder / f"{number:02}.bin").write_bytes(data)
        digests[f"{number:02}.bin"] = hashlib.sha256(data).hexdigest()
    return digests


def _serve(origin: Origin) -> None:
    threading.Thread(target=origin.serve_forever, daemon=True).start()


def _on_disk(root: Path) -> dict[str, str]:
    """The digests of every file that a reader could see."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in root.rglob("*")
        if path.is_file()
        and not any(part.startswith(".") for part in path.parts[len(root.parts) :])
    }
