"""Files imported from a folder of the centre: for the site that ingests them, and only those."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet.control import mirror
from fleet.control.rules import RuleSpec
from fleet.messages import Order
from fleet.store.database import Store
from tests.api_support import Api, served, three_sites

TOWNS = b"town,people\n" * 50


@pytest.fixture
def api(sqlite_store: Store, tmp_path: Path) -> Iterator[Api]:
    with served(three_sites(sqlite_store, tmp_path)) as one:
        yield one


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "census"
    (made / "2021").mkdir(parents=True)
    (made / "2021" / "towns.csv").write_bytes(TOWNS)
    return made


@pytest.fixture
def order(api: Api, folder: Path) -> Order:
    """The ingest of the folder's one file."""
    mirror.mirror_dataset(api.centre.store, str(folder), RuleSpec())
    attempt, site = api.announced()
    return api.centre.claim(attempt, site)


def _path(order: Order) -> str:
    return f"origins/{order.items[0].artifact}"


def test_the_site_that_ingests_a_file_reads_it_from_the_centre(api: Api, order: Order) -> None:
    [item] = order.items
    [source] = item.sources
    assert (item.path, source.centre) == ("2021/towns.csv", True)
    assert source.url == f"{api.centre.settings.centre_url}/api/v1/worker/{_path(order)}"
    answer = api.ask(order.site, "GET", _path(order))
    assert (answer.status_code, answer.content) == (200, TOWNS)


def test_a_part_of_it_can_be_asked_for_so_that_a_pull_can_resume(api: Api, order: Order) -> None:
    answer = api.ask(order.site, "GET", _path(order), headers={"Range": "bytes=100-"})
    assert (answer.status_code, answer.content) == (206, TOWNS[100:])


def test_no_other_site_and_nobody_without_a_token_reads_it(api: Api, order: Order) -> None:
    for other in {"toronto", "amsterdam", "netcup"} - {order.site}:
        answer = api.ask(other, "GET", _path(order))
        assert answer.status_code == 404
        assert answer.json()["detail"].endswith(f"has no file here for site {other}")
    assert api.get(f"/api/v1/worker/{_path(order)}").status_code == 401


def test_a_link_swapped_in_later_is_refused(
    api: Api, order: Order, folder: Path, tmp_path: Path
) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("the admin token")
    towns = folder / "2021" / "towns.csv"
    towns.unlink()
    towns.symlink_to(secret)
    answer = api.ask(order.site, "GET", _path(order))
    assert answer.status_code == 404
    assert "admin" not in answer.text


def test_a_folder_swapped_for_a_link_later_is_refused(
    api: Api, order: Order, folder: Path, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "towns.csv").write_text("the admin token")
    shutil.rmtree(folder / "2021")
    (folder / "2021").symlink_to(outside)
    answer = api.ask(order.site, "GET", _path(order))
    assert answer.status_code == 404
    assert "admin" not in answer.text


def test_a_file_that_is_gone_or_became_a_folder_is_not_found(
    api: Api, order: Order, folder: Path
) -> None:
    towns = folder / "2021" / "towns.csv"
    towns.unlink()
    assert api.ask(order.site, "GET", _path(order)).status_code == 404
    towns.mkdir()
    assert api.ask(order.site, "GET", _path(order)).status_code == 404


def test_what_came_from_elsewhere_has_no_file_here(api: Api) -> None:
    api.centre.mirror("a.csv")
    attempt, site = api.announced()
    order = api.centre.claim(attempt, site)
    assert api.ask(site, "GET", _path(order)).status_code == 404


def test_a_file_is_asked_for_by_its_artifact_alone(api: Api) -> None:
    for name in ("ar-none", "..%2F..%2Fetc%2Fpasswd", "%2Fetc%2Fpasswd"):
        assert api.ask("toronto", "GET", f"origins/{name}").status_code == 404
