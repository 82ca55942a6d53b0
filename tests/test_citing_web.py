"""Addresses that stay: pages that machines can read, and citations in the format asked for."""

import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlmodel import col, select

from fleet.catalogue.citations.formats import FORMATS
from fleet.control import descriptions
from fleet.descriptions import Description
from fleet.planning.states import VersionState
from fleet.store.database import Store
from fleet.store.tables import Dataset, Version
from fleet.web.accepts import best
from tests.api_support import Api, served, three_sites

CONCEPT, FIRST, SECOND = (f"10.5281/zenodo.{number}" for number in (70, 71, 72))
BREAKS = "</script><script>alert('1')</script>"
SAID = Description.model_validate(
    {
        "title": {"en": f"Roads {BREAKS}", "fr": "Routes"},
        "summary": {"en": 'All roads.\r\nLink: <x>; rel="cite-as"', "fr": "Toutes."},
        "creators": [
            {"name": "Côté", "given": "Zoë", "orcid": "0000-0002-1825-0097"},
            {"name": "Roads Inc.", "url": "https://roads.example/\u00e9>;x"},
        ],
        "publisher": "Data for Canada",
        "licence": {"id": "CC-BY-4.0"},
    }
)


class Head(HTMLParser):
    """What the scripts of a page hold."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.scripts: list[str] = []
        self.feed(source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "script":
            assert dict(attrs) == {"type": "application/ld+json"}
            self.scripts.append("")

    def handle_data(self, data: str) -> None:
        if self.scripts and self.get_starttag_text() == '<script type="application/ld+json">':
            self.scripts[-1] += data


def links(answer: httpx.Response) -> list[tuple[str, str, str]]:
    """Relation, address and type of each link of a header, as RFC 8288 writes them."""
    found = []
    for link in answer.headers["Link"].split(", "):
        href, *rest = link.split("; ")
        said = dict(one.split("=", 1) for one in rest)
        found.append((said["rel"].strip('"'), href.strip("<>"), said.get("type", "").strip('"')))
    return found


@pytest.fixture
def api(sqlite_store: Store, tmp_path: Path) -> Iterator[Api]:
    """A centre with two versions of a dataset that is described, and has DOIs."""
    centre = three_sites(sqlite_store, tmp_path)
    for key in ("1", "2"):
        centre.mirror("a.csv", "b.csv", key=key)
        centre.work()
        centre.advance(86_400)
    descriptions.keep(centre.store, "data", SAID)
    with centre.store.write() as session:
        session.get_one(Dataset, "data").doi = CONCEPT
        rows = session.exec(select(Version).order_by(col(Version.sequence))).all()
        rows[0].doi, rows[1].doi = FIRST, SECOND
    with served(centre) as one:
        yield one


def labels(api: Api) -> list[str]:
    """The labels of the versions, the oldest first."""
    shown = api.get("/api/v1/datasets/data").json()["versions"]
    return [one["label"] for one in reversed(shown)]


@pytest.mark.parametrize("form", FORMATS, ids=[one.name for one in FORMATS])
def test_each_format_has_an_address_and_is_had_by_asking_for_its_type(api: Api, form: Any) -> None:
    label = labels(api)[0]
    for page in ("/datasets/data", f"/datasets/data/versions/{label}"):
        named = api.get(f"{page}/{form.file}")
        asked = api.get(page, {"Accept": f"text/html;q=0.3, {form.content_type};q=0.9"})
        assert named.status_code == asked.status_code == 200
        assert named.content == asked.content
        assert named.headers["Content-Type"] == asked.headers["Content-Type"] == form.content_type
        assert asked.headers["Vary"] == "Accept, Accept-Language"
        assert api.client.head(f"{page}/{form.file}").status_code == 200


def test_a_version_is_cited_by_its_own_doi_and_the_dataset_by_that_of_all(api: Api) -> None:
    first, second = labels(api)
    whole = api.get("/datasets/data/cite.csl.json").json()
    old = api.get(f"/datasets/data/versions/{first}/cite.csl.json").json()
    new = api.get(f"/datasets/data/versions/{second}/cite.datacite.json").json()
    assert (whole["DOI"], old["DOI"], new["doi"]) == (CONCEPT, FIRST, SECOND)
    assert ("version" in whole, old["version"]) == (False, first)
    assert {one["relatedIdentifier"] for one in new["relatedIdentifiers"]} == {CONCEPT, FIRST}


def test_people_are_led_to_the_page_in_their_language(api: Api) -> None:
    label = labels(api)[0]
    for path in ("/datasets/data", f"/datasets/data/versions/{label}"):
        answer = api.get(path, {"Accept": "text/html,*/*;q=0.8", "Accept-Language": "fr-CA"})
        assert (answer.status_code, answer.headers["Location"]) == (303, f"/fr{path}")
        assert answer.headers["Vary"] == "Accept, Accept-Language"
        assert api.get(path).headers["Location"] == f"/en{path}"
        assert api.get(f"/fr{path}").status_code == 200


def test_what_is_not_to_be_had_is_said_with_what_is(api: Api) -> None:
    refused = api.get("/datasets/data", {"Accept": "image/png"})
    assert refused.status_code == 406
    assert "application/x-bibtex" in refused.json()["offered"]
    for path in (
        "/datasets/none",
        "/datasets/none/cite.bib",
        "/datasets/data/cite.ris",
        "/datasets/data/versions/v9",
        "/datasets/data/versions/v9/cite.bib",
        "/en/datasets/data/versions/v9",
        "/en/datasets/data/versions/%3Cscript%3E",
    ):
        answer = api.get(path)
        assert answer.status_code == 404
        assert "there is no" in answer.json()["detail"] or "no published" in answer.json()["detail"]


def test_pages_hold_their_json_ld_and_no_title_breaks_out_of_it(api: Api) -> None:
    first, _ = labels(api)
    for language, title in (("en", SAID.title.en), ("fr", "Routes")):
        for path, doi in (("data", CONCEPT), (f"data/versions/{first}", FIRST)):
            source = api.get(f"/{language}/datasets/{path}").text
            assert "</script><script>" not in source
            [script] = Head(source).scripts
            told = json.loads(script)
            assert (told["@id"], told["name"]) == (f"https://doi.org/{doi}", title)
            assert told["inLanguage"] == language
            files = [one for one in told["distribution"] if "sha256" in one]
            assert {one["name"] for one in files} == {"a.csv", "b.csv", "manifest.json"}


def test_pages_tell_people_how_to_cite_and_lead_to_each_format(api: Api) -> None:
    first, second = labels(api)
    english, french = (api.get(f"/{one}/datasets/data").text for one in ("en", "fr"))
    assert f"(Version {second}) [Data set]. Data for Canada." in english
    assert f"(version {second}) [Ensemble de données]. Data for Canada." in french
    for text in (english, french):
        assert f"https://doi.org/{SECOND}" in text
        assert f"https://doi.org/{CONCEPT}" in text
        assert 'href="https://creativecommons.org/licenses/by/4.0/"' in text
        for form in FORMATS:
            assert f'href="/datasets/data/versions/{second}/{form.file}"' in text
    assert f'href="/en/datasets/data/versions/{first}"' in english
    assert "<h1>Routes</h1>" in french
    assert "<p>Toutes.</p>" in french
    old = api.get(f"/en/datasets/data/versions/{first}").text
    assert f"(Version {first}) [Data set]" in old


def test_signposts_lead_machines_from_page_to_data_and_back(api: Api) -> None:
    _, second = labels(api)
    centre = api.centre.settings.centre_url
    page = f"{centre}/datasets/data/versions/{second}"
    for answer in (
        api.get(f"/en/datasets/data/versions/{second}"),
        api.client.head(f"/fr/datasets/data/versions/{second}"),
        api.get(f"/datasets/data/versions/{second}"),
    ):
        found = links(answer)
        assert ("cite-as", f"https://doi.org/{SECOND}", "") in found
        assert ("type", "https://schema.org/AboutPage", "") in found
        assert ("type", "https://schema.org/Dataset", "") in found
        assert ("license", "https://creativecommons.org/licenses/by/4.0/", "") in found
        assert ("author", "https://orcid.org/0000-0002-1825-0097", "") in found
        assert ("author", "https://roads.example/%C3%A9%3E;x", "") in found
        assert ("predecessor-version", f"https://doi.org/{FIRST}", "") in found
        assert ("item", f"{centre}/d/data/{second}/a.csv", "text/csv") in found
        assert ("linkset", f"{page}/linkset.json", "application/linkset+json") in found
        described = [one[1:] for one in found if one[0] == "describedby"]
        assert described == [(f"{page}/{one.file}", one.media_type) for one in FORMATS]
        assert sum(one[0] == "cite-as" for one in found) == 1
    back = links(api.get(f"/datasets/data/versions/{second}/cite.bib"))
    assert ("describes", page, "text/html") in back


def test_the_linkset_leads_from_each_file_to_its_page(api: Api) -> None:
    _, label = labels(api)
    answer = api.get(f"/datasets/data/versions/{label}/linkset.json")
    assert answer.headers["Content-Type"] == "application/linkset+json"
    page, *others = answer.json()["linkset"]
    assert page["anchor"].endswith(f"/datasets/data/versions/{label}")
    assert page["cite-as"] == [{"href": f"https://doi.org/{SECOND}"}]
    anchors = {one["anchor"]: one for one in others}
    for item in page["item"]:
        assert anchors[item["href"]]["collection"][0]["href"] == page["anchor"]
    for document in page["describedby"]:
        assert anchors[document["href"]]["describes"][0]["href"] == page["anchor"]
    assert api.get(page["anchor"].removeprefix(api.centre.settings.centre_url)).status_code == 303


def test_a_header_has_no_more_links_than_clients_take_and_the_linkset_has_all(api: Api) -> None:
    many = [{"name": f"{one}", "url": f"https://a.example/{one}"} for one in range(200)]
    said = SAID.model_dump() | {
        "creators": many,
        "licence": {"url": f"https://l.example/{'x' * 1900}"},
    }
    descriptions.keep(api.centre.store, "data", Description.model_validate(said))
    page = api.get("/en/datasets/data")
    assert {"author", "license"}.isdisjoint(relation for relation, _, _ in links(page))
    assert len(page.headers["Link"]) < 4_000
    told, *_ = api.get("/datasets/data/linkset.json").json()["linkset"]
    assert (len(told["author"]), len(told["license"])) == (200, 1)


def test_long_addresses_are_left_to_the_linkset(api: Api) -> None:
    long = [{"name": f"{one}", "url": f"https://a.example/{one}/{'é' * 60}"} for one in range(9)]
    said = SAID.model_dump() | {"creators": long}
    descriptions.keep(api.centre.store, "data", Description.model_validate(said))
    page = api.get("/en/datasets/data")
    assert "author" not in {relation for relation, _, _ in links(page)}
    assert len(page.headers["Link"]) < 4_000
    told, *_ = api.get("/datasets/data/linkset.json").json()["linkset"]
    assert len(told["author"]) == 9


def test_a_draft_has_a_page_and_nothing_to_cite(sqlite_store: Store, tmp_path: Path) -> None:
    centre = three_sites(sqlite_store, tmp_path)
    centre.mirror("a.csv")
    with served(centre) as api:
        page = api.get("/en/datasets/data")
        assert page.status_code == 200
        assert "ld+json" not in page.text
        assert "Link" not in page.headers
        assert api.get("/datasets/data").status_code == 404


def withdraw_all(store: Store) -> None:
    with store.write() as session:
        for row in session.exec(select(Version).where(col(Version.sequence).is_not(None))).all():
            row.state = VersionState.WITHDRAWN


def test_nothing_on_the_page_of_a_withdrawn_version_leads_to_its_files(api: Api) -> None:
    older, _ = labels(api)
    page = api.get(f"/en/datasets/data/versions/{older}").text
    torrents = re.findall(r"/api/v1/torrents/[0-9a-f]{40}\.torrent", page)
    assert torrents
    assert "http://toronto.example" in page
    withdraw_all(api.centre.store)
    page = api.get(f"/en/datasets/data/versions/{older}").text
    assert "a.csv" in page
    assert "http://toronto.example" not in page
    assert "/torrents/" not in page
    assert {api.get(one).status_code for one in torrents} == {404}


def test_a_draft_after_withdrawn_versions_leaves_the_dataset_its_page(api: Api) -> None:
    withdraw_all(api.centre.store)
    api.centre.mirror("c.csv", key="3")
    page = api.get("/en/datasets/data")
    assert page.status_code == 200
    assert CONCEPT in page.text


class Offered:
    """A representation of a type."""

    def __init__(self, media_type: str, profile: str = "") -> None:
        self.media_type, self.profile = media_type, profile


OFFERS = (Offered("text/html"), Offered("application/ld+json"), Offered("application/ld+json", "p"))


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        ("", 0),
        ("*/*", 0),
        ("text/*;q=0.1, application/*", 1),
        ("application/ld+json", 1),
        ("APPLICATION/LD+JSON ; Q=1", 1),
        ('application/ld+json;profile="p"', 2),
        ('application/ld+json;profile="p,q;r"', None),
        ("application/ld+json;q=0, */*;q=0.1", 0),
        ("text/html;q=0, */*", 1),
        ("text/html;q=0.5, application/ld+json;q=0.51", 1),
        ("text/html;q=9, application/ld+json;q=x", 0),
        ("application/ld+json;q=", 1),
        ("application/ld+json;q=., text/html;q=0.5", 1),
        ("image/png", None),
        ("image/png, " * 1000, None),
        (",;=/" * 500 + '"' * 50, 0),
    ],
)
def test_what_is_asked_for_first_is_given(accept: str, chosen: int | None) -> None:
    assert best(accept, OFFERS) is (None if chosen is None else OFFERS[chosen])
