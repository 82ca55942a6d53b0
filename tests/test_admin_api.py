"""The admin's API: closed but to the admin's token, and to what lies outside the import root."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import SecretStr

from fleet.messages import ItemResult
from fleet.settings import CentreSettings
from fleet.store.database import Store
from tests.api_support import Api, served, three_sites

ADMIN = "the-admin-token"
SOURCE = "https://origin.example/a.csv"


@pytest.fixture
def imports(tmp_path: Path) -> Path:
    folder = tmp_path / "imports"
    folder.mkdir()
    (folder / "list.txt").write_text("https://origin.example/a.csv\n")
    return folder


@pytest.fixture
def api(sqlite_store: Store, tmp_path: Path, imports: Path) -> Iterator[Api]:
    settings = CentreSettings(admin_token=SecretStr(ADMIN), import_root=imports, max_attempts=1)
    with served(three_sites(sqlite_store, tmp_path, settings)) as one:
        yield one


def _post(api: Api, path: str, body: Any = None, *, token: str = ADMIN) -> httpx.Response:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return api.client.post(f"/api/v1/admin/{path}", json=body, headers=headers)


def _mirror(api: Api, source: str, **more: Any) -> httpx.Response:
    return _post(api, "mirror", {"source": source} | more)


def test_without_the_admins_token_nothing_is_mirrored_or_retried(api: Api) -> None:
    body = {"source": SOURCE}
    for path in ("mirror", "transfers/tr-1/retry"):
        assert _post(api, path, body, token="").status_code == 401
        for wrong in ("wrong", api.token("toronto"), f"{ADMIN}x"):
            answer = _post(api, path, body, token=wrong)
            assert (answer.status_code, answer.json()["detail"]) == (
                403,
                "this is not the admin token",
            )
    assert api.get("/api/v1/datasets").json() == []


def test_where_no_admin_token_is_set_the_api_is_closed(sqlite_store: Store, tmp_path: Path) -> None:
    centre = three_sites(sqlite_store, tmp_path, CentreSettings(admin_token=SecretStr("")))
    with served(centre) as api:
        answer = _mirror(api, SOURCE)
        assert answer.status_code == 403
        assert "FLEET_ADMIN_TOKEN is not set" in answer.json()["detail"]
        assert _post(api, "mirror", token="").status_code == 401


@pytest.mark.parametrize(
    "source",
    [
        "http://169.254.169.254/latest/meta-data/",
        "stac+http://127.0.0.1:8484/api/v1/datasets",
        "http://localhost/x.torrent",
    ],
)
def test_the_centre_asks_no_private_address_for_whoever_names_one(api: Api, source: str) -> None:
    answer = _mirror(api, source)
    assert answer.status_code == 409
    assert "is not public; FLEET_ALLOW_NETWORKS names" in answer.json()["detail"]
    assert api.get("/api/v1/datasets").json() == []


def test_a_mirror_is_accepted_and_asked_for_twice_it_is_done_once(api: Api) -> None:
    wanted = {"dataset": "census", "label": "2021", "key": "once", "rule": {"copies": 2, "min": 2}}
    first = _mirror(api, SOURCE, **wanted)
    assert first.status_code == 202
    made = first.json()
    assert (made["dataset"], made["label"], made["artifacts"], made["repeated"]) == (
        "census",
        "2021",
        1,
        False,
    )
    again = _mirror(api, SOURCE, **wanted)
    assert again.json() == made | {"repeated": True}
    api.centre.work()
    assert sum(states == ["available"] for states in api.centre.replicas().values()) == 2


def test_a_list_below_the_import_root_is_mirrored(api: Api, imports: Path) -> None:
    answer = _mirror(api, str(imports / "list.txt"))
    assert (answer.status_code, answer.json()["artifacts"]) == (202, 1)


def test_a_local_source_outside_the_import_root_is_refused(
    api: Api, imports: Path, tmp_path: Path
) -> None:
    outside = tmp_path / "outside.txt"
    outside.write_text("https://origin.example/a.csv\n")
    (imports / "link.txt").symlink_to(outside)
    for source in (outside, imports / "link.txt", imports / ".." / "outside.txt", "/etc/passwd"):
        answer = _mirror(api, str(source))
        assert answer.status_code == 409
        assert "FLEET_IMPORT_ROOT" in answer.json()["detail"]
    assert api.get("/api/v1/datasets").json() == []


def test_without_an_import_root_only_home_imports_is_open(
    sqlite_store: Store, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    (home / "imports").mkdir(parents=True)
    for folder in (home / "imports", home):
        (folder / "list.txt").write_text("https://origin.example/a.csv\n")
    settings = CentreSettings(admin_token=SecretStr(ADMIN), home=home)
    with served(three_sites(sqlite_store, tmp_path, settings)) as api:
        assert _mirror(api, str(home / "imports" / "list.txt")).status_code == 202
        assert _mirror(api, str(home / "list.txt")).status_code == 409


def test_a_request_that_cannot_be_read_says_which_part(api: Api) -> None:
    for change, said in (
        ({"urgent": True}, "urgent"),
        ({"source": None}, "source"),
        ({"rule": {"copies": 0}}, "copies"),
        ({"rule": {"selector": "knd=x"}}, "'knd'"),
        ({"rule": {"spread_by": ["id"]}}, "cannot spread by 'id'"),
        ({"rule": {"colour": "red"}}, "colour"),
    ):
        answer = _post(api, "mirror", {"source": SOURCE} | change)
        assert answer.status_code == 422
        assert said in answer.text


def test_what_cannot_be_mirrored_is_refused_with_a_reason(api: Api) -> None:
    for change, said in (
        ({"dataset": "../up"}, "dataset '../up'"),
        ({"label": "a/b"}, "version 'a/b'"),
        ({"source": "ftp://origin.example/a.csv"}, "a.csv"),
        ({"source": "https://origin.example/a\0.csv"}, "control character"),
    ):
        answer = _mirror(api, **{"source": SOURCE} | change)
        assert answer.status_code == 409
        assert said in answer.json()["detail"]
    assert api.get("/api/v1/datasets").json() == []


def test_a_suspended_transfer_is_tried_again_when_an_admin_says_so(api: Api) -> None:
    _mirror(api, SOURCE, dataset="census", rule={"selector": "id=toronto"})
    attempt, site = api.announced()
    api.centre.report(api.centre.claim(attempt, site))
    attempt, site = api.announced()
    order = api.centre.claim(attempt, site)
    api.centre.report_but(order, "a.csv", _failed)
    [transfer] = api.centre.transfers(state="suspended")
    path = f"transfers/{transfer.id}/retry"
    assert _post(api, path).json() == {
        "transfer": transfer.id,
        "reason": "an admin let it be tried again",
    }
    again = _post(api, path)
    assert again.status_code == 409
    assert again.json()["detail"] == f"transfer {transfer.id} is waiting, not suspended"
    api.centre.work()
    assert api.centre.replicas() == {"toronto": ["available"]}


def test_an_unknown_transfer_is_not_found(api: Api) -> None:
    answer = _post(api, "transfers/tr-none/retry")
    assert (answer.status_code, answer.json()["detail"]) == (404, "there is no transfer 'tr-none'")


def _failed(artifact: str) -> ItemResult:
    return ItemResult(artifact=artifact, ok=False, reason="the disk is full", fault="local")


def test_what_made_a_dataset_is_bundled_from_below_the_import_root(
    api: Api, imports: Path, tmp_path: Path
) -> None:
    api.centre.settings = api.centre.settings.model_copy(update={"home": tmp_path / "home"})
    (imports / "code").mkdir()
    (imports / "code" / "main.py").write_text("pass\n")
    (imports / "lock.txt").write_text("numpy==2\n")
    bundle = {"code": "code", "environment": [str(imports / "lock.txt")]}
    answer = _mirror(api, SOURCE, bundle=bundle)
    assert (answer.status_code, answer.json()["artifacts"]) == (202, 2)
    (tmp_path / "secret").mkdir()
    (imports / "link").symlink_to(tmp_path / "secret")
    for outside in ("../secret", str(tmp_path / "secret"), "link"):
        for part in ({"code": outside}, {"code": "code", "environment": [outside]}):
            refused = _mirror(api, SOURCE, bundle=part)
            assert refused.status_code == 409, refused.text
            assert "FLEET_IMPORT_ROOT" in refused.json()["detail"]


def test_the_ledger_is_had_as_parquet_by_the_admin_alone(api: Api) -> None:
    assert _mirror(api, SOURCE, dataset="data").status_code == 202
    path = "/api/v1/admin/ledger.parquet"
    assert api.get(path).status_code == 401
    headers = {"Authorization": f"Bearer {ADMIN}"}
    for params in ({}, {"dataset": "data"}):
        answer = api.client.get(path, headers=headers, params=params)
        table = pq.read_table(pa.BufferReader(answer.content))
        assert table.column("url").to_pylist() == [SOURCE]
    unknown = api.client.get(path, headers=headers, params={"dataset": "none"})
    assert (unknown.status_code, unknown.json()["detail"]) == (
        404,
        "there is no dataset 'none'; `fleet status` lists them",
    )
