"""schema.org's Dataset, as JSON-LD: what search engines for data read from a page.

What they ask for: https://developers.google.com/search/docs/appearance/structured-data/dataset
"""

from typing import Any, Final

from fleet.catalogue.citations.work import Download, Work
from fleet.descriptions import Creator, Language
from fleet.planning.states import VersionState

Json = dict[str, Any]

MEDIA_TYPE: Final = "application/ld+json"
_CATALOGUE: Final = {
    "en": "Datasets and their mirrors",
    "fr": "Jeux de données et leurs miroirs",
}
_LEAST, _MOST = 50, 5000  # characters of a description
_ABOUT: Final = {
    "en": "{title}: {files} files, {size} bytes, with their checksums, mirrors and torrents.",
    "fr": "{title} : {files} fichiers, {size} octets, leurs sommes de contrôle, miroirs, torrents.",
}


def schema_org(work: Work, language: Language = "en") -> Json:
    """Describe a work in one language; in the other it is named, and its page linked to."""
    other: Language = "fr" if language == "en" else "en"
    name, named = work.title.in_(language), work.title.in_(other)
    written: Json = {
        "@context": "https://schema.org/",
        "@type": "Dataset",
        "@id": work.url,
        "name": name,
        "alternateName": [one for one in (named, work.id) if one != name],
        "description": described(work, language),
        "inLanguage": language,
        "url": work.page,
        "identifier": [one for one in dict.fromkeys((work.url, work.page)) if one],
        "sameAs": work.homepage,
        "version": work.version,
        "datePublished": work.published.isoformat(),
        "creativeWorkStatus": "" if work.state == VersionState.PUBLISHED else str(work.state),
        "creator": [agent(one) for one in work.creators],
        "publisher": _publisher(work),
        "license": work.licence.url or work.licence.title or work.licence.id,
        "isAccessibleForFree": True,
        "keywords": list(getattr(work.keywords, language) or getattr(work.keywords, other)),
        "spatialCoverage": _place(work),
        "temporalCoverage": _time(work),
        "isBasedOn": work.source,
        **_others(work),
        "includedInDataCatalog": _catalogue(work, language),
        "distribution": [_download(one) for one in work.downloads],
    }
    if named != name and work.title.in_(other):
        written["workTranslation"] = {
            "@type": "Dataset",
            "inLanguage": other,
            "name": named,
            "description": described(work, other),
        }
    return {key: value for key, value in written.items() if value}


def described(work: Work, language: Language) -> str:
    """Describe a work in as many characters as may be; what too little is said of, by its size."""
    text = work.summary.in_(language).strip()
    if len(text) < _LEAST:
        about = _ABOUT[language].format(
            title=work.title.in_(language), files=work.contents.files, size=work.contents.size
        )
        text = f"{text} {about}".strip()
    return text if len(text) <= _MOST else f"{text[: _MOST - 1]}…"


def agent(one: Creator) -> Json:
    """Describe who made a work."""
    if not one.given:
        told: Json = {"@type": "Organization", "name": one.name, "url": one.url, "sameAs": one.ror}
        return {key: value for key, value in told.items() if value}
    place = {"@type": "Organization", "name": one.affiliation, "sameAs": one.ror}
    told = {
        "@type": "Person",
        "name": f"{one.given} {one.name}",
        "givenName": one.given,
        "familyName": one.name,
        "url": one.url,
        "sameAs": f"https://orcid.org/{one.orcid}" if one.orcid else "",
        "affiliation": {key: value for key, value in place.items() if value},
    }
    if not one.affiliation:
        del told["affiliation"]
    return {key: value for key, value in told.items() if value}


def _publisher(work: Work) -> Json:
    return {"@type": "Organization", "name": work.publisher} if work.publisher else {}


def _place(work: Work) -> Json:
    """Draw a rectangle: south west and north east (https://schema.org/box)."""
    if work.extent.bbox is None:
        return {}
    west, south, east, north = work.extent.bbox
    return {
        "@type": "Place",
        "geo": {"@type": "GeoShape", "box": f"{south} {west} {north} {east}"},
    }


def _time(work: Work) -> str:
    start, end = work.extent.start, work.extent.end
    if not (start or end):
        return ""
    return "/".join(day.isoformat() if day else ".." for day in (start, end))


def _others(work: Work) -> Json:
    """Name the work that this is a version of, or the versions that there are of this."""
    of = {"IsVersionOf": "exampleOfWork", "HasVersion": "workExample"}
    found: dict[str, list[Json]] = {}
    for one in work.related:
        if one.relation in of:
            told = {"@type": "Dataset", "@id": one.address, "url": one.address}
            found.setdefault(of[one.relation], []).append(told)
    return found


def _catalogue(work: Work, language: Language) -> Json:
    if not work.catalog:
        return {}
    return {"@type": "DataCatalog", "name": _CATALOGUE[language], "url": work.catalog}


def _download(one: Download) -> Json:
    told = {
        "@type": "DataDownload",
        "name": one.name,
        "contentUrl": one.url,
        "encodingFormat": one.media_type,
        "contentSize": "" if one.size is None else f"{one.size} B",
        "sha256": one.sha256,
    }
    return {key: value for key, value in told.items() if value}
