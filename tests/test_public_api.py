"""What anyone may ask of the centre, and the document that says how."""

import hashlib
import pkgutil
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
from fastapi.routing import APIRoute, APIRouter

from fleet import web
from fleet.store.database import Store
from fleet.store.tables import DatasetAlias
from tests.api_support import Api, served, three_sites
from tests.centre_support import content
from tests.holdings_support import hold


@pytest.fixture
def api(sqlite_store: Store, tmp_path: Path) -> Iterator[Api]:
    with served(three_sites(sqlite_store, tmp_path)) as one:
        yield one


def test_health_is_answered_from_the_store(api: Api) -> None:
    answer = api.get("/api/v1/health").json()
    assert answer == {"status": "operational", "now": "2026-03-01T12:00:00+00:00"}


def test_a_dataset_is_listed_with_how_far_it_is(api: Api) -> None:
    assert api.get("/api/v1/datasets").json() == []
    api.centre.mirror("a.csv", "b.csv")
    [line] = api.get("/api/v1/datasets").json()
    assert (line["id"], line["progress"]["state"], line["progress"]["artifacts"]) == (
        "data",
        "draft",
        2,
    )
    api.centre.work()
    [line] = api.get("/api/v1/datasets").json()
    done = line["progress"]
    assert (done["state"], done["known"], done["replicas_available"]) == ("published", 3, 6)
    files = {one["path"]: one["size"] for one in api.get("/api/v1/datasets/data").json()["files"]}
    assert set(files) == {"a.csv", "b.csv", "manifest.json"}
    assert done["bytes_known"] == sum(files.values())


def test_a_dataset_is_shown_with_its_copies_torrents_and_files(api: Api) -> None:
    api.centre.mirror("a.csv", "%C3%A9%20b.csv")
    api.centre.work()
    shown = api.get("/api/v1/datasets/data").json()
    label = shown["version"]
    assert [copy["site"] for copy in shown["copies"]] == ["amsterdam", "netcup", "toronto"]
    assert all(copy["available"] == copy["shards"] == 2 for copy in shown["copies"])
    assert [(one["name"], one["files"]) for one in shown["torrents"]] == [
        (f"data/{label}", 2),
        ("manifest.json", 1),
    ]
    files = {one["path"]: one for one in shown["files"]}
    assert set(files) == {"a.csv", "manifest.json", "é b.csv"}
    places = {one["site"]: one["url"] for one in files["é b.csv"]["places"]}
    assert set(places) == {"amsterdam", "netcup", "toronto"}
    assert places["toronto"] == f"http://toronto.example/data/{label}/%C3%A9%20b.csv"
    assert files["a.csv"]["sha256"] == hashlib.sha256(content("a.csv")).hexdigest()


def test_before_a_copy_is_verified_no_address_is_given(api: Api) -> None:
    api.centre.mirror("a.csv")
    api.centre.tick()
    shown = api.get("/api/v1/datasets/data").json()
    assert [one["places"] for one in shown["files"]] == [[]]
    assert shown["torrents"] == shown["copies"] == []


def test_an_old_name_still_finds_the_dataset(api: Api) -> None:
    api.centre.mirror("a.csv")
    with api.centre.store.write() as session:
        session.add(DatasetAlias(alias="before", dataset_id="data"))
    assert api.get("/api/v1/datasets/before").json()["id"] == "data"
    assert api.get("/api/v1/why/before").json() == api.get("/api/v1/why/data").json()


def test_why_explains_whatever_has_a_name(api: Api) -> None:
    api.centre.mirror("a.csv")
    api.centre.tick()
    [transfer] = api.centre.transfers()
    for name, thing in (
        ("data", "data "),
        ("toronto", "toronto"),
        (transfer.id, f"transfer {transfer.id} (ingest to {transfer.target_id})"),
        (transfer.attempt_id, f"attempt {transfer.attempt_id} at {transfer.target_id}"),
        (transfer.version_id, "data "),
    ):
        causes = api.get(f"/api/v1/why/{name}").json()["causes"]
        assert causes[0]["thing"].startswith(thing)
        assert all(cause["reason"] and cause["state"] for cause in causes)


def test_why_gives_moments_in_utc(api: Api) -> None:
    hold(api.centre, 1, ("toronto",))
    causes = api.get("/api/v1/why/toronto").json()["causes"]
    [fixity] = [one for one in causes if one["thing"] == "fixity of toronto"]
    assert re.fullmatch(r"2026-\d\d-\d\dT[\d:.]+(Z|\+00:00)", fixity["again"])
    assert {"thing", "state", "reason", "again", "since"} == set(fixity)


def test_what_is_not_there_is_said_in_words(api: Api) -> None:
    for path, detail in (
        ("datasets/none", "there is no dataset 'none'"),
        ("why/none", "nothing is called 'none': give a dataset, site, or the id of a "),
    ):
        answer = api.get(f"/api/v1/{path}")
        assert answer.status_code == 404
        assert answer.json()["detail"].startswith(detail)


def test_the_openapi_document_lists_and_explains_every_route_of_the_api(api: Api) -> None:
    document = api.get("/openapi.json").json()
    listed = {
        (method.upper(), path): operation
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    }
    assert set(listed) == {one for one in _routes() if one[1].startswith("/api/")}
    assert all(one["description"] for one in listed.values())
    assert {tag for one in listed.values() for tag in one["tags"]} == {"admin", "public", "worker"}
    assert document["info"]["description"]


def test_nothing_public_needs_a_token_and_everything_else_does(api: Api) -> None:
    document = api.get("/openapi.json").json()
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            answer = api.client.request(method, path)
            closed = answer.status_code == 401
            assert closed == (operation["tags"] != ["public"]), (method, path)


def _routes() -> set[tuple[str, str]]:
    """The methods and paths of every router that a module of the web room has."""
    modules = [import_module(f"fleet.web.{one.name}") for one in pkgutil.iter_modules(web.__path__)]
    routers = [module.router for module in modules if hasattr(module, "router")]
    assert len(routers) >= 4
    return {
        (method, route.path)
        for router in routers
        if isinstance(router, APIRouter)
        for route in router.routes
        if isinstance(route, APIRoute)
        for method in route.methods or ()
    }
