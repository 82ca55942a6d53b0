"""Versions on their way to records with DOIs, by real processes that are killed meanwhile."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import httpx
import pytest
from sqlmodel import col, select

from fleet.control import mirror, sites
from fleet.control.rules import RuleSpec
from fleet.control.sites import SiteSpec
from fleet.planning.states import TransferKind
from fleet.rehearsal.service import Moment
from fleet.rehearsal.zenodo import TOKEN, Zenodo
from fleet.rehearsal.zenodo.state import Record
from fleet.store.tables import Attempt, Publication, Replica, Transfer, Version
from tests.databases import on_postgres, on_sqlite
from tests.publish_support import bytes_of
from tests.running_fleet import RunningFleet, kill, running_fleet

FILLS = "fills-drafts"
MIB = 1024 * 1024
SAID = """\
title: {en: Buildings, fr: Bâtiments}
summary: {en: All of them., fr: Tous.}
creators: [{name: Data for Canada}]
publisher: Data for Canada
licence: {id: CC-BY-4.0}
"""
RULE = RuleSpec(copies=None, selector="id=toronto,amsterdam | kind=repository")


@dataclass
class Kills:
    """Kills somebody once at each of these requests to the repository, after its effect."""

    at: dict[tuple[str, str], Callable[[], None]]
    done: list[tuple[str, str]] = field(default_factory=list)

    def __call__(self, moment: Moment) -> None:
        """Be told of a boundary of a request."""
        for method, end in [*self.at] if moment.phase == "done" else ():
            if moment.asked.method == method and moment.asked.path.endswith(end):
                self.done.append((method, end))
                self.at.pop((method, end))()


@pytest.fixture
def zenodo(tmp_path: Path) -> Iterator[Zenodo]:
    home = tmp_path / "zenodo"
    home.mkdir()
    with Zenodo(home, tokens={TOKEN: "1", FILLS: "1"}) as server:
        yield server


@pytest.mark.slow
@on_postgres
@pytest.mark.timeout(300)
def test_two_versions_become_two_records_of_one_concept_whoever_is_killed(
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    database_url: str,
    zenodo: Zenodo,
) -> None:
    with _fleet(tmp_path_factory.mktemp("fleet"), database_url, zenodo) as fleet:
        zenodo.watch = kills = Kills(
            {
                ("POST", "/api/records"): lambda: kill(fleet.pid("consumer")),
                ("PUT", "/large.bin/content"): lambda: _kill_executor(fleet),
                ("POST", "/SHA256SUMS/commit"): lambda: kill(fleet.pid("consumer")),
                ("POST", "/actions/publish"): lambda: kill(fleet.pid("consumer")),
            }
        )
        first = {"large.bin": 3 * MIB, "small.csv": 3000}
        one = _mirror(fleet, tmp_path, "v1", first, RuleSpec(selector="kind=node"))
        _describe(fleet, tmp_path)
        _enqueue(fleet, "data/v1", "zenodo")
        fleet.until("v1 is published", lambda: _states(fleet) == {"v1": "published"}, 150)
        assert len(kills.done) == 4
        fleet.until("it counts as copies", lambda: set(_copies(fleet)) == {"available"}, 30)
        two = _mirror(fleet, tmp_path, "v2", first | {"more.csv": 5000}, RULE)
        both = {"v1": "published", "v2": "published"}
        fleet.until("v2 is published", lambda: _states(fleet) == both, 100)

        records = list(zenodo.records.records.values())
        assert [(one.published, one.index) for one in records] == [(True, 1), (True, 2)]
        assert len({one.concept for one in records}) == 1
        for record, digests in zip(records, (one, two), strict=True):
            held = bytes_of(record)
            assert {name: hashlib.sha256(held[name]).hexdigest() for name in digests} == digests
            sums = "".join(f"{digest}  {name}\n" for name, digest in sorted(digests.items()))
            assert set(sums.splitlines()) <= set(held["SHA256SUMS"].decode().splitlines())
        told = httpx.get(f"{fleet.tree.page_url}api/v1/datasets/data", trust_env=False).json()
        assert told["doi"] == told["records"][0]["doi"] == records[1].doi
        assert f"https://doi.org/{records[1].doi}" in _page(fleet)


@on_sqlite
@pytest.mark.slow
@pytest.mark.timeout(200)
def test_a_version_too_large_for_a_record_has_its_papers_there_as_a_newcomer_asks(
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    database_url: str,
    zenodo: Zenodo,
) -> None:
    with _fleet(tmp_path_factory.mktemp("fleet"), database_url, zenodo) as fleet:
        zenodo.watch = kills = Kills(
            {("POST", "/actions/publish"): lambda: kill(fleet.pid("consumer"))}
        )
        sizes = {f"{number:03}.csv": 100 for number in range(101)}
        _mirror(fleet, tmp_path, "v1", sizes, RuleSpec(selector="kind=node"))
        fleet.until("it is mirrored", lambda: _everywhere(fleet), 60)
        _describe(fleet, tmp_path)
        asked = _command(fleet, "publish", "data/v1", "--at", "zenodo", "--wait", "--json")
        fleet.until("it is published", lambda: asked.poll() is not None, 100)
        out, err = asked.communicate()
        assert asked.returncode == 0, err
        (line,) = json.loads(out)["publications"]
        (record,) = zenodo.records.records.values()
        assert kills.done
        assert (line["state"], line["whole"], line["doi"]) == ("published", False, record.doi)
        assert line["url"] == f"{zenodo.url}/records/{record.id}"
        held = bytes_of(record)
        assert held.keys() == {"manifest.json", "SHA256SUMS", "MIRRORS.txt", "data.torrent"}
        for mirror_url in held["MIRRORS.txt"].decode().split():
            found = httpx.get(f"{mirror_url}007.csv", trust_env=False).raise_for_status()
            digest = hashlib.sha256(found.content).hexdigest()
            assert f"{digest}  007.csv" in held["SHA256SUMS"].decode().splitlines()
        assert _relations(record) == {"ismetadatafor"}


def _relations(record: Record) -> set[str]:
    return {one["relation_type"]["id"] for one in record.metadata["related_identifiers"]}


@contextmanager
def _fleet(home: Path, database_url: str, zenodo: Zenodo) -> Iterator[RunningFleet]:
    keys = home / "keys.yaml"
    keys.write_text(f"zenodo: {{token: {FILLS}, publish_token: {TOKEN}}}\n")
    keys.chmod(0o600)
    with running_fleet(
        home,
        database_url,
        only=("toronto", "amsterdam"),
        lease_seconds=6,
        tick_seconds=0.2,
        retry_seconds=0.5,
        keys_file=keys,
    ) as fleet:
        spec = {"id": "zenodo", "kind": "repository", "driver": "zenodo"}
        spec["store"] = {"endpoint": zenodo.url}
        sites.apply(fleet.store, (SiteSpec.model_validate(spec),))
        fleet.until("all programs ready", fleet.all_ready)
        yield fleet


def _mirror(
    fleet: RunningFleet, folder: Path, label: str, sizes: dict[str, int], rule: RuleSpec
) -> dict[str, str]:
    """Mirror files of these sizes; return their sha256s."""
    digests, source = {}, folder / label
    source.mkdir()
    for name, size in sizes.items():
        data = Random(name).randbytes(size)
        digests[name] = hashlib.sha256(data).hexdigest()
        (source / name).write_bytes(data)
    mirror.mirror_dataset(fleet.store, str(source), rule, dataset="data", label=label)
    return digests


def _describe(fleet: RunningFleet, folder: Path) -> None:
    file = folder / "said.yaml"
    file.write_text(SAID)
    told = _command(fleet, "dataset", "describe", "data", str(file))
    _, err = told.communicate(timeout=60)
    assert told.returncode == 0, err


def _states(fleet: RunningFleet) -> dict[str, str]:
    with fleet.store.read() as session:
        found = select(Version.label, Publication.state).join(
            Publication, col(Publication.version_id) == col(Version.id)
        )
        return dict(session.exec(found).all())


def _copies(fleet: RunningFleet, site: str = "zenodo") -> list[str]:
    with fleet.store.read() as session:
        return list(session.exec(select(Replica.state).where(Replica.site_id == site)).all())


def _everywhere(fleet: RunningFleet) -> bool:
    return all(set(_copies(fleet, site)) == {"available"} for site in ("toronto", "amsterdam"))


def _kill_executor(fleet: RunningFleet) -> None:
    """Kill the worker that fills a draft."""
    (site,) = {one.site_id for one in fleet.running().values() if _fills(fleet, one)}
    kill(fleet.lanes(site)[0])


def _fills(fleet: RunningFleet, attempt: Attempt) -> bool:
    with fleet.store.read() as session:
        transfer = session.get_one(Transfer, attempt.transfer_id)
    return transfer.kind == TransferKind.PUBLISH


def _page(fleet: RunningFleet) -> str:
    return httpx.get(f"{fleet.tree.page_url}en/datasets/data", trust_env=False).text


def _enqueue(fleet: RunningFleet, version: str, at: str) -> None:
    """Have it published by the Celery task, as from Flower."""
    subprocess.run(
        [
            *(sys.executable, "-m", "celery", "--app=fleet.control.consumer", "call"),
            *("fleet.publish", f"--args={json.dumps([version, at])}", "--queue=admin"),
        ],
        env=dict(fleet.tree.programs[1].env),
        check=True,
        stdout=subprocess.DEVNULL,
    )


def _command(fleet: RunningFleet, *words: str) -> "subprocess.Popen[str]":
    env = os.environ | {
        "FLEET_HOME": str(fleet.home),
        "FLEET_DATABASE_URL": fleet.settings.database_url,
    }
    return subprocess.Popen(
        [sys.executable, "-m", "fleet", *words],
        env=env,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
