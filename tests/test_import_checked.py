"""What a repository publishes of its files is checked against what arrives, all the way."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fleet.control import mirror
from fleet.control.errors import RefusedError
from fleet.control.rules import RuleSpec
from fleet.store.database import Store
from fleet.store.tables import Dataset, Version
from tests.centre_support import Centre
from tests.import_support import Server, serving
from tests.pull_support import Site
from tests.test_import_zenodo import new_shape

GOOD = b"the very bytes"
MD5 = hashlib.md5(GOOD).hexdigest()


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as running:
        yield running


@pytest.fixture
def centre(sqlite_store: Store, tmp_path: Path) -> Centre:
    centre = Centre(sqlite_store, tmp_path)
    centre.apply_sites("toronto")
    return centre


def test_an_id_that_is_another_s_in_other_letters_is_refused(
    centre: Centre, tmp_path: Path
) -> None:
    """Both would be one folder of the catalogue, and of a disk, to many who copy it."""
    centre.mirror("a.csv")
    listing = str(tmp_path / "list.txt")
    with pytest.raises(RefusedError, match=r"there is a dataset 'data', and to many disks 'Data'"):
        mirror.mirror_dataset(centre.store, listing, RuleSpec(), dataset="Data", key="other")
    mirror.mirror_dataset(centre.store, listing, RuleSpec(), dataset="data", key="another")


def mirrored(centre: Centre, server: Server, source: str) -> str:
    """Mirror a source as the admin's API and queue do."""
    return mirror.mirror_dataset(
        centre.store,
        source,
        RuleSpec(),
        import_root=centre.folder / "imports",
        settings=server.settings(),
    ).version


def record(server: Server, **said: Any) -> str:
    """Serve a record of one file, of which something is said, and its bytes."""
    server.serve("/api/records/7", json.dumps(new_shape(**{"a.csv": said})).encode())
    server.serve("/records/7/files/a.csv", GOOD)
    return f"{server.base}/records/7"


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"size": len(GOOD), "checksum": f"md5:{MD5}"}, ""),
        ({"size": len(GOOD), "checksum": MD5}, ""),
        ({"size": len(GOOD), "checksum": f"md5:{'0' * 32}"}, "md5"),
        ({"size": len(GOOD) + 1, "checksum": f"md5:{MD5}"}, "bytes"),
        ({"size": len(GOOD) + 1}, "bytes"),
    ],
)
def test_what_a_record_says_is_what_must_arrive(
    said: dict[str, Any], reason: str, centre: Centre, server: Server, tmp_path: Path
) -> None:
    mirrored(centre, server, record(server, **said))
    centre.tick()
    [order] = centre.orders()
    (item,) = order.items
    assert item.size == said["size"]
    assert item.md5 == (said["checksum"].removeprefix("md5:") if "checksum" in said else None)
    (result,) = Site(tmp_path / "site").pull(order).items
    assert result.ok is not bool(reason)
    assert reason in result.reason


def test_a_sha256_of_stac_is_what_must_arrive(
    centre: Centre, server: Server, tmp_path: Path
) -> None:
    href = server.serve("/a.csv", GOOD)
    asset = {"href": href, "file:checksum": "1220" + "0" * 64}
    document = {"type": "Feature", "id": "x", "assets": {"a": asset}}
    mirrored(centre, server, "stac+" + server.serve("/x.json", json.dumps(document).encode()))
    centre.tick()
    [order] = centre.orders()
    assert order.items[0].sha256 == "0" * 64
    (result,) = Site(tmp_path / "site").pull(order).items
    assert not result.ok
    assert "sha256" in result.reason


def test_a_version_keeps_the_title_the_licence_and_the_doi(centre: Centre, server: Server) -> None:
    version = mirrored(centre, server, record(server, size=len(GOOD)))
    with centre.store.read() as session:
        row = session.get_one(Version, version)
        assert (row.dataset_id, row.licence, row.doi) == (
            "zenodo-7",
            "cc-by-4.0",
            "10.5281/zenodo.7",
        )
        assert row.licence_retrieved_at == row.created_at
        assert session.get_one(Dataset, "zenodo-7").title == "Roads"


def test_a_server_reads_no_local_file_for_a_repository(centre: Centre, server: Server) -> None:
    secret = centre.folder / "item.json"
    secret.write_text('{"type": "Feature", "id": "x", "assets": {"a": {"href": "https://a/x"}}}')
    for source in (str(secret), f"stac+file://{secret}", f"stac+{secret}", f"file://{secret}"):
        with pytest.raises(RefusedError, match=r"lies outside|is not an http or https URL"):
            mirrored(centre, server, source)
    assert server.asked == []
