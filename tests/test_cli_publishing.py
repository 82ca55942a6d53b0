"""`fleet dataset` and `fleet publish` as an admin meets them, and the API and pages beside them."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from fleet.store.database import Store
from fleet.store.tables import Dataset
from tests.api_support import Api, served
from tests.centre_support import Centre
from tests.cli_support import Run, refused, runner
from tests.publications_support import DESCRIBED, EVERYWHERE, Office, opened

SAID = """\
title: {en: Buildings, fr: Bâtiments}
summary: {en: All of them.}
creators: [{name: Data for Canada}]
publisher: Data for Canada
licence: {id: CC-BY-4.0}
"""


@pytest.fixture
def office(sqlite_centre: Centre) -> Iterator[Office]:
    with opened(sqlite_centre) as made:
        yield made


@pytest.fixture
def run(
    sqlite_store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Run:
    monkeypatch.setenv("FLEET_DATABASE_URL", str(sqlite_store.engine.url))
    return runner(tmp_path, monkeypatch, capsys)


def test_what_is_said_of_a_dataset_is_shown_as_it_is_written(
    office: Office, run: Run, tmp_path: Path
) -> None:
    office.centre.mirror("a.csv")
    assert run("dataset", "show", "data").out == (
        "# nothing is said of it: fleet dataset describe data FILE\n"
    )
    file = tmp_path / "said.yaml"
    file.write_text(SAID)
    told = run("dataset", "describe", "data", str(file))
    assert (told.code, told.out) == (
        0,
        "data: creators, licence, publisher, summary, title said\n",
    )
    shown = run("dataset", "show", "data").out
    file.write_text(shown)
    run("dataset", "describe", "data", str(file))
    assert run("dataset", "show", "data").out == shown
    with office.centre.store.write() as session:
        session.get_one(Dataset, "data").doi = "10.5281/zenodo.7"
    cited = "# all versions: https://doi.org/10.5281/zenodo.7\n"
    assert run("dataset", "show", "data").out == cited + shown
    assert run("dataset", "show", "data", "--json").json["description"]["title"] == {
        "en": "Buildings",
        "fr": "Bâtiments",
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("titel: {en: B}", "titel: Extra inputs are not permitted"),
        ("creators: [{name: A}, {nom: B}]", "creators.2.name: Field required"),
        ("extent: {bbox: [1, 2, 0, 1]}", "extent: a bbox is west, south, east, north in degrees"),
        ("title: [", "is no YAML"),
        ("- a", "give fields, such as title, summary and creators"),
        ("", "give fields, such as title, summary and creators"),
        ("x: " + "y" * 1024 * 1024, "is longer than 1,048,576 bytes"),
    ],
)
def test_a_description_that_cannot_be_read_is_refused_with_its_field_named(
    text: str, said: str, office: Office, run: Run, tmp_path: Path
) -> None:
    office.centre.mirror("a.csv")
    file = tmp_path / "said.yaml"
    file.write_text(text)
    refused(run("dataset", "describe", "data", str(file)), str(file), said)


def test_a_dataset_or_a_file_that_is_not_there_is_refused(
    office: Office, run: Run, tmp_path: Path
) -> None:
    file = tmp_path / "said.yaml"
    refused(run("dataset", "describe", "data", str(file)), "cannot be read: No such file")
    file.write_text(SAID)
    refused(run("dataset", "describe", "none", str(file)), "there is no dataset 'none'")
    refused(run("dataset", "show", "none"), "there is no dataset 'none'")


def test_publishing_is_asked_for_and_told_of(office: Office, run: Run) -> None:
    office.centre.mirror("a.csv")
    office.centre.work()
    refused(run("publish", "data"), "selects no repository: name one with --at (zenodo)")
    refused(run("publish", "other"), "there is no version 'other'")
    asked = run("publish", "data", "--at", "zenodo")
    assert asked.code == 0
    assert "zenodo  wanted" in asked.out
    assert "a person asked for it" in asked.out
    (told,) = run("publish", "data", "--at", "zenodo", "--json").json["publications"]
    assert (told["site"], told["state"], told["url"]) == ("zenodo", "wanted", "")


def test_the_api_asks_as_the_command_does_and_pages_show_the_record(office: Office) -> None:
    centre = office.centre
    centre.settings = centre.settings.model_copy(update={"admin_token": SecretStr("admin")})
    version = centre.mirror("a.csv", rule=EVERYWHERE)
    office.describe(DESCRIBED)
    with served(centre) as api:
        office.work()
        assert _post(api, {"version": "none"}).status_code == 404
        answer = _post(api, {"version": version})
        assert answer.status_code == 202
        assert [one["site"] for one in answer.json()] == ["zenodo"]
        office.work(60)
        row = office.row()
        found = api.get("/api/v1/datasets/data").json()
        assert found["doi"] == row.doi
        (told,) = found["records"]
        url = f"{office.zenodo.url}/records/{row.record}"
        assert (told["state"], told["doi"], told["url"]) == ("published", row.doi, url)
        for language, said in (
            ("en", "Records in repositories"),
            ("fr", "Notices dans des dépôts"),
        ):
            page = api.get(f"/{language}/datasets/data").text
            assert said in page
            assert f'href="https://doi.org/{row.doi}"' in page
            assert f'href="{url}"' in page


def test_the_api_is_closed_to_others(office: Office) -> None:
    with served(office.centre) as api:
        assert api.client.post("/api/v1/admin/publish", json={"version": "x"}).status_code == 401


def _post(api: Api, body: dict[str, str]) -> httpx.Response:
    headers = {"Authorization": "Bearer admin"}
    return api.client.post("/api/v1/admin/publish", json=body, headers=headers)
