"""DataCite's metadata, as JSON.

Documented: https://datacite-metadata-schema.readthedocs.io/en/4.5/; the shape is that of DataCite's
REST API, for which the schema is ``datacite-v4.5.json``.
"""

from collections.abc import Iterator
from typing import Any, Final

from fleet.catalogue.citations.work import Related, Work
from fleet.descriptions import LANGUAGES, Creator

Json = dict[str, Any]

UNAVAILABLE: Final = ":unav"
"""What DataCite has said where what it cannot do without is not known (Appendix 3)."""
_ORCID: Final = "https://orcid.org"
_ROR: Final = "https://ror.org"
_COVERED: Final = "the time that the data are of"
_SCHEMA: Final = "http://datacite.org/schema/kernel-4"


def datacite(work: Work) -> Json:
    """Write a work's metadata."""
    written: Json = {
        "doi": work.doi,
        "url": work.page,
        "types": {"resourceType": "Dataset", "resourceTypeGeneral": "Dataset"},
        "creators": [_creator(one) for one in work.creators] or [{"name": UNAVAILABLE}],
        "titles": list(_titles(work)),
        "publisher": {"name": work.publisher or UNAVAILABLE},
        "publicationYear": f"{work.published.year:04}",
        "subjects": list(_subjects(work)),
        "dates": list(_dates(work)),
        "language": "en" if work.title.en else "fr",
        "alternateIdentifiers": [
            {"alternateIdentifier": work.id, "alternateIdentifierType": "Fleet"}
        ],
        "relatedIdentifiers": list(_related(work)),
        "sizes": [f"{work.contents.size} bytes", f"{work.contents.files} files"],
        "formats": list(work.contents.formats),
        "version": work.version,
        "rightsList": _rights(work),
        "descriptions": [
            {"description": text, "descriptionType": "Abstract", "lang": language}
            for language in LANGUAGES
            if (text := getattr(work.summary, language))
        ],
        "geoLocations": _places(work),
        "schemaVersion": _SCHEMA,
    }
    return {name: value for name, value in written.items() if value}


def _titles(work: Work) -> Iterator[Json]:
    """Give the English one first; that in the other language is a translation."""
    kind: Json = {}
    for language in LANGUAGES:
        if text := getattr(work.title, language):
            yield {"title": text, "lang": language, **kind}
            kind = {"titleType": "TranslatedTitle"}


def _creator(one: Creator) -> Json:
    if not one.given:
        told: Json = {"name": one.name, "nameType": "Organizational"}
        return {**told, "nameIdentifiers": [_identifier(one.ror, "ROR", _ROR)]} if one.ror else told
    told = {
        "name": f"{one.name}, {one.given}",
        "nameType": "Personal",
        "givenName": one.given,
        "familyName": one.name,
    }
    if one.orcid:
        told["nameIdentifiers"] = [_identifier(f"{_ORCID}/{one.orcid}", "ORCID", _ORCID)]
    if one.affiliation:
        place: Json = {"name": one.affiliation}
        if one.ror:
            place |= {
                "affiliationIdentifier": one.ror,
                "affiliationIdentifierScheme": "ROR",
                "schemeUri": _ROR,
            }
        told["affiliation"] = [place]
    return told


def _identifier(value: str, scheme: str, home: str) -> Json:
    return {"nameIdentifier": value, "nameIdentifierScheme": scheme, "schemeUri": home}


def _subjects(work: Work) -> Iterator[Json]:
    seen = set[tuple[str, str]]()
    for language in LANGUAGES:
        for word in getattr(work.keywords, language):
            if word and (word, language) not in seen:
                seen.add((word, language))
                yield {"subject": word, "lang": language}


def _dates(work: Work) -> Iterator[Json]:
    yield {"date": work.published.isoformat(), "dateType": "Issued"}
    start, end = work.extent.start, work.extent.end
    if start or end:
        days = (day.isoformat() if day else "" for day in (start, end))
        yield {"date": "/".join(days), "dateType": "Other", "dateInformation": _COVERED}


def _related(work: Work) -> Iterator[Json]:
    for one in work.related:
        yield _relation(one)
    if work.source:
        yield _relation(Related("IsDerivedFrom", url=work.source))


def _relation(one: Related) -> Json:
    return {
        "relatedIdentifier": one.doi or one.url,
        "relatedIdentifierType": "DOI" if one.doi else "URL",
        "relationType": one.relation,
        "resourceTypeGeneral": "Dataset",
    }


def _rights(work: Work) -> list[Json]:
    licence = work.licence
    told: Json = {"rights": licence.title or licence.id, "rightsUri": licence.url}
    if licence.id:
        told |= {
            "rightsIdentifier": licence.id,
            "rightsIdentifierScheme": "SPDX",
            "schemeUri": "https://spdx.org/licenses/",
        }
    told = {name: value for name, value in told.items() if value}
    return [told] if told else []


def _places(work: Work) -> list[Json]:
    """Tell where the data are of, if that was said."""
    if work.extent.bbox is None:
        return []
    west, south, east, north = work.extent.bbox
    box = {
        "westBoundLongitude": west,
        "eastBoundLongitude": east,
        "southBoundLatitude": south,
        "northBoundLatitude": north,
    }
    return [{"geoLocationBox": box}]
