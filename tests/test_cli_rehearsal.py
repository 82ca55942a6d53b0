"""`fleet up --with-test-repositories`: a bucket and a Zenodo to write to, and to import from."""

import hashlib
from pathlib import Path

import httpx
import pytest
from sqlmodel import select

from fleet.cli import rehearsal
from fleet.control import descriptions, mirror, publications, published, sites
from fleet.control.rules import RuleSpec
from fleet.store.database import Store
from fleet.store.tables import Replica, Site
from tests.databases import on_sqlite
from tests.publications_support import DESCRIBED
from tests.running_fleet import running_fleet


@on_sqlite
@pytest.mark.timeout(200)
def test_a_newcomer_mirrors_into_a_bucket_and_publishes_a_record_without_an_account(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, database_url: str
) -> None:
    home = tmp_path_factory.mktemp("fleet")  # short enough for the sockets below it
    source = tmp_path / "source"
    source.mkdir()
    (source / "a.csv").write_bytes(b"a,b\n1,2\n")
    with running_fleet(
        home,
        database_url,
        repositories=True,
        only=("toronto",),
        lease_seconds=10,
        tick_seconds=0.2,
    ) as fleet:
        fleet.until("all programs ready", fleet.all_ready)
        rule = RuleSpec(copies=2, selector="id=toronto | kind=object_store")
        mirror.mirror_dataset(fleet.store, str(source), rule, dataset="data", label="v1")

        def held() -> list[str]:
            with fleet.store.read() as session:
                rows = session.exec(select(Replica).where(Replica.site_id == "bucket-1")).all()
            return [row.state for row in rows]

        fleet.until(
            "it and its manifest lie in the bucket", lambda: held() == ["available"] * 2, 90
        )
        with fleet.store.read() as session:
            url = session.get_one(Site, "bucket-1").read_url
        found = httpx.get(f"{url}/data/v1/a.csv", trust_env=False).raise_for_status()
        assert hashlib.sha256(found.content).digest() == hashlib.sha256(b"a,b\n1,2\n").digest()

        descriptions.keep(fleet.store, "data", DESCRIBED)
        version = publications.ask(fleet.store, "data", "zenodo-1")

        def record() -> str:
            with fleet.store.read() as session:
                (line,) = published.of_version(session, version)
            return line.url

        fleet.until("it has a record", record, 90)
        told = httpx.get(record().replace("/records", "/api/records"), trust_env=False)
        assert told.json()["metadata"]["title"] == "Buildings"


def test_the_next_rehearsal_has_sites_of_its_own(store: Store) -> None:
    for number in (1, 2):
        assert rehearsal.give_up(store) == number
        sites.apply(store, rehearsal.Rehearsal.make(number, 1, 2, 3).specs)
    rehearsal.give_up(store)
    with store.read() as session:
        found = {row.id: row.retired for row in session.exec(select(Site)).all()}
    assert found == dict.fromkeys(("bucket-1", "zenodo-1", "bucket-2", "zenodo-2"), True)


def test_its_keys_are_new_each_time_and_in_no_argument(tmp_path: Path) -> None:
    one, other = (rehearsal.Rehearsal.make(1, 1, 2, 3) for _ in range(2))
    assert one.secret != other.secret
    program = one.program({}, tmp_path)
    assert one.secret not in " ".join(program.argv)
    assert one.secret in program.env["FLEET_REHEARSAL"]
