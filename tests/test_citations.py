"""Citations of any dataset are valid in each format, and say what is known of it, and no more."""

import json
import re
from dataclasses import replace
from functools import cache
from importlib.resources import files
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given

from fleet.catalogue.citations.bibtex import bibtex, escaped
from fleet.catalogue.citations.croissant import croissant
from fleet.catalogue.citations.csl import csl
from fleet.catalogue.citations.datacite import datacite
from fleet.catalogue.citations.formats import FORMATS
from fleet.catalogue.citations.prose import prose
from fleet.catalogue.citations.schema_org import schema_org
from fleet.catalogue.citations.work import MOST_FILES, Work, of_dataset, of_version
from fleet.catalogue.entry import Artifact, Dataset
from fleet.catalogue.licences import licence_of
from fleet.descriptions import Description
from fleet.planning.states import VersionState
from tests.catalogue_strategies import any_dataset, unhurried
from tests.catalogue_support import sample

Json = dict[str, Any]

CENTRE = "https://fleet.example.org"
CONCEPT = "10.5281/zenodo.19220388"
DESCRIBED = Description.model_validate(
    {
        "title": {"en": "Buildings & roads", "fr": "Bâtiments et routes"},
        "summary": {"en": "Every building of Canada, and every road that leads to one of them."},
        "creators": [
            {
                "name": "Côté",
                "given": "Zoë",
                "orcid": "0000-0002-1825-0097",
                "affiliation": "Université Laval",
                "ror": "https://ror.org/04sjchr03",
            },
            {"name": "Statistics Canada", "ror": "https://ror.org/05k71ja87"},
        ],
        "publisher": "Data for Canada",
        "licence": {"id": "OGL-Canada-2.0", "url": "https://open.canada.ca/en/licence"},
        "keywords": {"en": ["roads"], "fr": ["routes"]},
        "extent": {"bbox": [-75.0, 45.0, -74.0, 46.5], "start": "2021-01-01", "end": "2021-12-31"},
    }
)
DATASET = replace(sample(0, versions=3), description=DESCRIBED, centre=CENTRE)
FIRST, SECOND, NEWEST = DATASET.entries


def works(dataset: Dataset) -> list[Work]:
    return [of_dataset(dataset), *(of_version(dataset, one) for one in dataset.entries)]


@cache
def datacite_schema() -> Any:
    schema = json.loads((files("datacite") / "schemas" / "datacite-v4.5.json").read_text())
    return jsonschema_rs.validator_for(schema | {"$id": "urn:datacite"}, validate_formats=True)


@unhurried
@given(any_dataset)
def test_datacites_schema_finds_no_fault_in_any_dataset(dataset: Dataset) -> None:
    for work in works(dataset):
        faults = [str(one) for one in datacite_schema().iter_errors(datacite(work))]
        assert faults == []


def test_datacite_tells_versions_apart_and_together() -> None:
    related = {
        (one["relationType"], one["relatedIdentifierType"], one["relatedIdentifier"])
        for one in datacite(of_version(DATASET, SECOND))["relatedIdentifiers"]
    }
    assert related == {
        ("IsVersionOf", "DOI", DATASET.doi),
        ("IsNewVersionOf", "DOI", FIRST.doi),
        ("IsPreviousVersionOf", "DOI", NEWEST.doi),
        ("IsDerivedFrom", "URL", SECOND.source),
    }
    whole = datacite(of_dataset(DATASET))
    assert (whole["doi"], whole["url"]) == (DATASET.doi, f"{CENTRE}/datasets/{DATASET.id}")
    assert [
        one["relatedIdentifier"]
        for one in whole["relatedIdentifiers"]
        if one["relationType"] == "HasVersion"
    ] == [one.doi for one in DATASET.entries]
    without = replace(DATASET, doi="")
    [of] = [
        one
        for one in datacite(of_version(without, FIRST))["relatedIdentifiers"]
        if one["relationType"] == "IsVersionOf"
    ]
    assert (of["relatedIdentifierType"], of["relatedIdentifier"]) == (
        "URL",
        f"{CENTRE}/datasets/{DATASET.id}",
    )


def test_datacite_tells_who_where_when_how_large_and_under_which_licence() -> None:
    told = datacite(of_version(DATASET, NEWEST))
    person, organisation = told["creators"]
    assert (person["name"], person["familyName"], person["givenName"]) == (
        "Côté, Zoë",
        "Côté",
        "Zoë",
    )
    assert person["nameIdentifiers"][0]["nameIdentifier"] == "https://orcid.org/0000-0002-1825-0097"
    [place] = person["affiliation"]
    assert place["affiliationIdentifier"] == "https://ror.org/04sjchr03"
    assert organisation["nameIdentifiers"][0]["nameIdentifierScheme"] == "ROR"
    assert told["geoLocations"][0]["geoLocationBox"]["northBoundLatitude"] == 46.5
    assert told["sizes"] == [f"{sum(one.size for one in NEWEST.artifacts)} bytes", "2 files"]
    assert told["formats"] == ["application/json", "application/vnd.pmtiles"]
    assert told["rightsList"][0]["rightsIdentifier"] == "OGL-Canada-2.0"
    assert told["titles"][1] == {
        "title": "Bâtiments et routes",
        "lang": "fr",
        "titleType": "TranslatedTitle",
    }
    assert {"date": "2021-01-01/2021-12-31", "dateType": "Other"}.items() <= told["dates"][
        1
    ].items()
    assert told["publicationYear"] == str(NEWEST.published_at.year)


@unhurried
@given(any_dataset)
def test_search_engines_find_in_any_dataset_what_they_require(dataset: Dataset) -> None:
    for work in works(dataset):
        for language in ("en", "fr"):
            told = schema_org(work, language)
            assert told["@type"] == "Dataset"
            assert told["name"].strip() == told["name"] != ""
            assert 50 <= len(told["description"]) <= 5000
            assert all(one for one in told.values())
            for file in told.get("distribution", ()):
                assert file["contentUrl"].startswith("https://")
                assert file["encodingFormat"]


def test_schema_org_leads_to_each_file_for_good_with_its_sha256() -> None:
    told = schema_org(of_version(DATASET, NEWEST))
    file = NEWEST.artifacts[1]
    [found] = [one for one in told["distribution"] if one["name"] == file.path]
    assert found == {
        "@type": "DataDownload",
        "name": file.path,
        "contentUrl": f"{CENTRE}/d/{DATASET.id}/{NEWEST.label}/{file.path}",
        "encodingFormat": "application/vnd.pmtiles",
        "contentSize": f"{file.size} B",
        "sha256": file.sha256,
    }
    assert told["includedInDataCatalog"]["url"] == f"{CENTRE}/catalogue/catalogue.json"
    assert told["license"] == "https://open.canada.ca/en/licence"
    assert told["spatialCoverage"]["geo"]["box"] == "45.0 -75.0 46.5 -74.0"
    assert told["temporalCoverage"] == "2021-01-01/2021-12-31"
    assert told["creator"][0]["sameAs"] == "https://orcid.org/0000-0002-1825-0097"
    assert told["exampleOfWork"][0]["@id"] == f"https://doi.org/{CONCEPT}"


def test_schema_org_is_in_the_language_of_its_page_and_names_the_other() -> None:
    french = schema_org(of_version(DATASET, NEWEST), "fr")
    assert (french["name"], french["inLanguage"]) == ("Bâtiments et routes", "fr")
    assert french["keywords"] == ["routes"]
    assert (french["workTranslation"]["name"], french["workTranslation"]["inLanguage"]) == (
        "Buildings & roads",
        "en",
    )


def test_of_a_version_with_many_files_as_many_are_told_as_a_page_can_bear() -> None:
    many = tuple(Artifact(f"{one}.csv", 1, "0" * 64) for one in range(MOST_FILES + 50))
    entry = replace(NEWEST, artifacts=many, shards=NEWEST.shards * (MOST_FILES + 50))
    dataset = replace(DATASET, entries=(entry,))
    told = schema_org(of_version(dataset, entry))
    assert len(told["distribution"]) == 2 * MOST_FILES
    assert f"{len(many)} files" in datacite(of_version(dataset, entry))["sizes"]


def test_nothing_leads_to_the_files_of_a_version_that_was_withdrawn() -> None:
    entry = replace(NEWEST, state=VersionState.WITHDRAWN)
    told = schema_org(of_version(replace(DATASET, entries=(entry,)), entry))
    assert "distribution" not in told
    assert told["creativeWorkStatus"] == "withdrawn"


@unhurried
@given(any_dataset)
def test_croissant_has_what_its_specification_demands(dataset: Dataset) -> None:
    for work in works(dataset):
        told = croissant(work)
        context = told["@context"]
        assert (context["@vocab"], context["cr"]) == (
            "https://schema.org/",
            "http://mlcommons.org/croissant/",
        )
        assert (told["@type"], told["conformsTo"]) == (
            "sc:Dataset",
            "http://mlcommons.org/croissant/1.0",
        )
        assert all(told.get(name) for name in ("name", "description", "datePublished", "citeAs"))
        ids = [one["@id"] for one in told["distribution"]]
        assert len(ids) == len(set(ids))
        for file in told["distribution"]:
            assert file["@type"] == "cr:FileObject"
            assert re.fullmatch("[0-9a-f]{64}", file["sha256"])
            assert {"name", "contentUrl", "contentSize", "encodingFormat"} <= file.keys()


def fields(entry: str) -> dict[str, str]:
    """Read an entry as BibTeX does: up to the brace that closes each value."""
    assert entry.startswith("@dataset{")
    found, rest = {}, entry.partition(",\n")[2].rstrip().removesuffix("}")
    while rest.strip(" ,\n"):
        name, _, rest = rest.lstrip(" ,\n").partition("=")
        rest = rest.lstrip()
        if not rest.startswith("{"):
            found[name.strip()], _, rest = rest.partition(",")
            continue
        depth = at = 0
        while True:
            skipped = rest[at] == "\\" and rest[at + 1 : at + 2] in {"{", "}", "\\"}
            depth += 0 if skipped else {"{": 1, "}": -1}.get(rest[at], 0)
            at += 2 if skipped else 1
            if depth == 0:
                break
        found[name.strip()], rest = rest[1 : at - 1], rest[at:]
    return found


_SIGNS = re.compile(r"\\text(backslash|asciitilde|asciicircum|braceleft|braceright)\{\}")


@unhurried
@given(any_dataset)
def test_bibtex_is_read_back_whatever_titles_and_names_hold(dataset: Dataset) -> None:
    for work in works(dataset):
        entry = bibtex(work)
        read = fields(entry)
        expected = {"title", "year", "month"} | ({"author"} if work.creators else set())
        expected |= {"doi"} if work.doi else set()
        assert expected <= read.keys() <= expected | {"version", "publisher", "url"}
        assert read["year"] == f"{work.published.year:04}"
        assert entry.count("\n") == len(read) + 2
        assert entry.count("{") == entry.count("}")  # BibTeX counts those after a backslash too
        author = _SIGNS.sub("", read.get("author", ""))
        between = re.sub(r"\{(?:\\.|[^{}\\])*\}", "", author)
        assert between.count(" and ") == max(len(work.creators) - 1, 0)
        bare = _SIGNS.sub("", read["title"])
        assert not re.search(r"(?<!\\)[#$%&_]", bare)


@pytest.mark.parametrize(
    ("said", "written"),
    [
        ("Straßen\xadverkehr", "Straßenverkehr"),
        ("\u0645\u06cc\u200c\u062e", "\u0645\u06cc\u200c\u062e"),
        ("of \U0002ebf0 alone", "of \U0002ebf0 alone"),
        ("a\x00b\n\u2028c", "a b c"),
    ],
)
def test_bibtex_keeps_the_signs_of_every_script(said: str, written: str) -> None:
    assert escaped(said) == written


def test_bibtex_keeps_names_and_the_identifier_as_they_are() -> None:
    read = fields(bibtex(of_version(DATASET, NEWEST)))
    assert read["author"] == "{Côté}, {Zoë} and {Statistics Canada}"
    assert read["title"] == r"{Buildings \& roads}"
    assert (read["doi"], read["url"]) == (NEWEST.doi, f"https://doi.org/{NEWEST.doi}")
    assert bibtex(of_dataset(DATASET)).startswith(f"@dataset{{{DATASET.id},\n")
    odd = replace(DATASET, id="é}, x@y{")
    assert re.match(r"@dataset\{x:y,\n", bibtex(of_dataset(odd)))


def test_csl_names_persons_by_parts_and_organisations_whole() -> None:
    told = csl(of_version(DATASET, NEWEST))
    assert told["author"] == [
        {"family": "Côté", "given": "Zoë"},
        {"literal": "Statistics Canada"},
    ]
    at = NEWEST.published_at
    assert (told["type"], told["DOI"], told["version"]) == ("dataset", NEWEST.doi, NEWEST.label)
    assert told["issued"] == {"date-parts": [[at.year, at.month, at.day]]}


def test_people_cite_it_in_their_own_language() -> None:
    work = of_version(DATASET, NEWEST)
    year, label, url = NEWEST.published_at.year, NEWEST.label, f"https://doi.org/{NEWEST.doi}"
    assert prose(work, "en") == (
        f"Côté, Z., & Statistics Canada ({year}). Buildings & roads (Version {label}) [Data set]. "
        f"Data for Canada. {url}"
    )
    assert prose(work, "fr") == (
        f"Côté, Z. et Statistics Canada ({year}). Bâtiments et routes (version {label}) "
        f"[Ensemble de données]. Data for Canada. {url}"
    )
    bare = replace(DATASET, description=Description(), doi="")
    first = min(one.published_at for one in DATASET.entries).year
    assert prose(of_dataset(bare), "en") == (
        f"{DATASET.id} [Data set] ({first}). {CENTRE}/datasets/{DATASET.id}"
    )


@unhurried
@given(any_dataset)
def test_every_format_gives_the_same_bytes_each_time(dataset: Dataset) -> None:
    for work in works(dataset):
        for one in FORMATS:
            assert one.write(work).encode() == one.write(work).encode()


def test_the_licence_recorded_with_a_version_comes_before_the_one_described() -> None:
    said = DESCRIBED
    own = licence_of(said, "CC-BY-4.0")
    assert (own.id, own.url) == ("CC-BY-4.0", "https://creativecommons.org/licenses/by/4.0/")
    linked = licence_of(said, "https://city.example/terms")
    assert linked.url == "https://city.example/terms"
    named = licence_of(said, "Open Government Licence, Vancouver")
    assert named.title == "Open Government Licence, Vancouver"
    assert licence_of(Description(), "") == licence_of(Description(), "other")
