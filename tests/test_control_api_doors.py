"""The control API's doors: whose token opens them, and what may be carried through."""

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from sqlmodel import select

from fleet.messages import Order
from fleet.settings import CentreSettings
from fleet.store.database import Store
from fleet.store.tables import Blob, Observation, Shard
from fleet.web import worker_api
from tests.api_support import Api, served, three_sites

ADMIN = "the-admin-token"
MOST = 64 * 1024 * 1024
MOMENT = datetime(2026, 3, 1, tzinfo=UTC).isoformat()
DOORS = sorted(
    (method, str(route.path))  # type: ignore[attr-defined]
    for route in worker_api.router.routes
    for method in route.methods  # type: ignore[attr-defined]
)


@pytest.fixture
def api(sqlite_store: Store, tmp_path: Path) -> Iterator[Api]:
    settings = CentreSettings(lease_seconds=10, admin_token=SecretStr(ADMIN))
    with served(three_sites(sqlite_store, tmp_path, settings)) as one:
        yield one


def _blobs(api: Api) -> dict[str, bytes]:
    with api.centre.store.read() as session:
        return {blob.sha256: blob.data for blob in session.exec(select(Blob)).all()}


def test_no_door_opens_without_the_token_of_a_site(api: Api) -> None:
    api.token("toronto")
    assert len(DOORS) >= 9
    for method, path in DOORS:
        answer = api.client.request(method, path)
        assert (answer.status_code, method, path) == (401, method, path)
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert "Authorization: Bearer" in answer.json()["detail"]
        for wrong in ("wrong", ADMIN, "", f"{api.token('toronto')}x"):
            answer = api.client.request(
                method, path, headers={"Authorization": f"Bearer {wrong}".strip()}
            )
            assert answer.status_code == (403 if wrong else 401)
            assert wrong not in answer.text or not wrong


def test_another_scheme_than_bearer_is_no_token(api: Api) -> None:
    basic = {"Authorization": f"Basic {api.token('toronto')}"}
    assert api.get("/api/v1/worker/seeds", headers=basic).status_code == 401
    lower = {"Authorization": f"bearer {api.token('toronto')}"}
    assert api.get("/api/v1/worker/seeds", headers=lower).status_code == 200


def test_a_blob_is_kept_under_its_digest_and_sent_again_without_harm(api: Api) -> None:
    data = b"piece hashes" * 100
    name = hashlib.sha256(data).hexdigest()
    for _ in range(2):
        answer = api.ask("toronto", "PUT", f"blobs/{name}", content=data)
        assert (answer.status_code, answer.content) == (204, b"")
    assert _blobs(api) == {name: data}


def test_a_blob_with_another_digest_is_refused(api: Api) -> None:
    for name in ("0" * 64, "nonsense", hashlib.sha256(b"x").hexdigest().upper()):
        answer = api.ask("toronto", "PUT", f"blobs/{name}", content=b"x")
        assert answer.status_code == 422
        assert "do not have that sha256" in answer.json()["detail"]
    assert _blobs(api) == {}


def test_a_blob_of_more_than_64_mib_is_refused_and_not_kept(api: Api) -> None:
    data = bytes(MOST + 1)
    name = hashlib.sha256(data).hexdigest()
    answer = api.ask("toronto", "PUT", f"blobs/{name}", content=data)
    assert answer.status_code == 413
    assert answer.json()["detail"] == f"a blob has at most {MOST} bytes"
    assert _blobs(api) == {}


def _ordered(api: Api) -> Order:
    api.centre.mirror("a.csv")
    attempt, site = api.announced()
    return api.centre.claim(attempt, site)


def test_a_field_that_the_contract_does_not_have_is_refused(api: Api) -> None:
    order = _ordered(api)
    outcome = api.centre.outcome(order).model_dump(mode="json")
    beat: dict[str, Any] = {"fence": order.fence}
    seen = {"kind": "slow", "site": order.site, "at": MOMENT}
    attempt = f"attempts/{order.attempt}"
    for path, body in (
        (f"{attempt}/heartbeat", beat | {"speed": 1}),
        (f"{attempt}/report", outcome | {"mood": "good"}),
        (f"{attempt}/report", outcome | {"items": [outcome["items"][0] | {"crc": "1"}]}),
        ("observations", seen | {"weight": 2}),
        ("seeds/report", [{"infohash": "0" * 40, "ratio": 1}]),
    ):
        answer = api.ask(order.site, "POST", path, json=body)
        assert (answer.status_code, path) == (422, path)
        assert answer.json()["detail"][0]["type"] == "extra_forbidden"
    assert [one.state for one in api.centre.transfers()] == ["running"]


def test_values_that_the_contract_does_not_allow_are_refused(api: Api) -> None:
    order = _ordered(api)
    outcome = api.centre.outcome(order).model_dump(mode="json")
    [item] = outcome["items"]
    for change in (
        {"items": [item | {"sha256": "F" * 64}]},
        {"items": [item | {"size": -1}]},
        {"items": [item | {"fault": "bad luck"}]},
        {"bytes_fetched": -1},
        {"started_at": "yesterday"},
        {"pieces": {"sha256": "../../etc/passwd", "size": 1}},
    ):
        path = f"attempts/{order.attempt}/report"
        assert api.ask(order.site, "POST", path, json=outcome | change).status_code == 422


def test_what_a_site_sees_of_its_own_copy_only_demotes_it(api: Api) -> None:
    api.centre.mirror("a.csv")
    api.centre.work()
    with api.centre.store.read() as session:
        shard = session.exec(select(Shard.id).order_by(Shard.position)).first()
    seen = {"kind": "bit rot", "site": "toronto", "shard": shard, "at": MOMENT}
    assert api.ask("toronto", "POST", "observations", json=seen).status_code == 204
    assert api.centre.replicas()["toronto"] == ["suspect"]
    [verify] = api.centre.transfers(kind="verify")
    assert (verify.target_id, verify.state, verify.reason) == ("toronto", "waiting", "bit rot")
    with api.centre.store.read() as session:
        [kept] = session.exec(select(Observation).where(Observation.kind == "bit rot")).all()
    assert (kept.observer, kept.shard_id) == ("toronto", shard)


def test_a_site_speaks_for_nobody_else(api: Api) -> None:
    api.centre.mirror("a.csv")
    api.centre.work()
    with api.centre.store.read() as session:
        shard = session.exec(select(Shard.id).order_by(Shard.position)).first()
    seen = {"kind": "bit rot", "site": "amsterdam", "shard": shard, "at": MOMENT}
    answer = api.ask("toronto", "POST", "observations", json=seen)
    assert answer.status_code == 422
    assert answer.json()["detail"] == "site toronto cannot speak for amsterdam"
    assert api.centre.replicas()["amsterdam"] == ["available"]


def test_an_observation_of_a_shard_that_the_site_does_not_hold_changes_nothing(api: Api) -> None:
    api.centre.mirror("a.csv")
    api.centre.work()
    seen = {"kind": "bit rot", "site": "toronto", "shard": "sh-none", "at": MOMENT}
    assert api.ask("toronto", "POST", "observations", json=seen).status_code == 204
    assert api.centre.replicas()["toronto"] == ["available"]
