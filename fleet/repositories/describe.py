"""A record's metadata, as InvenioRDM has them.

Documented: https://inveniordm.docs.cern.ch/reference/metadata/; the ids of vocabularies are those
of its fixtures.  A text may be in several languages: the first is the record's own, and the others
are its translations.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from html import escape
from typing import Any, Final

Json = dict[str, Any]
_LANGUAGES: Final = {"en": "eng", "fr": "fra"}


@dataclass(frozen=True, slots=True)
class Text:
    """Plain text in one language, ``en`` or ``fr``; empty lines part its paragraphs."""

    language: str
    text: str


@dataclass(frozen=True, slots=True)
class Creator:
    """Who made the data: an organisation, or a person with a ``given`` name."""

    name: str
    given: str = ""
    orcid: str = ""
    affiliation: str = ""


@dataclass(frozen=True, slots=True)
class Licence:
    """A licence: by the id that the repository has for it, or by its title and URL."""

    id: str = ""
    title: str = ""
    url: str = ""


@dataclass(frozen=True, slots=True)
class Description:
    """What a record says of a version.

    Attributes:
        titles: at least one.
        summaries: descriptions, at least one.
        creators: at least one.
        published: the date on which the data were published.
        label: of the version.
        licence: of the data.
        publisher: who makes the data available; no DOI is registered without it.
        whole: whether the record holds the data, and not only what leads to them.
        mirrors: URLs at which the same data are.
        previous_doi: of the version before.
        same_doi: under which others published the same data.
        keywords: subjects.
    """

    titles: tuple[Text, ...]
    summaries: tuple[Text, ...]
    creators: tuple[Creator, ...]
    published: date
    label: str
    licence: Licence
    publisher: str
    whole: bool = True
    mirrors: tuple[str, ...] = ()
    previous_doi: str = ""
    same_doi: str = ""
    keywords: tuple[str, ...] = ()


_ELSEWHERE: Final = {
    "en": "The data are too large for this repository. They are at the mirrors that are named "
    "under related identifiers, and in the torrents among the files, which prove each byte.",
    "fr": "Les données sont trop volumineuses pour ce dépôt. Elles se trouvent aux miroirs nommés "
    "parmi les identifiants liés, et dans les torrents joints, qui en prouvent chaque octet.",
}


def metadata(urn: str, described: Description) -> Json:
    """Write a record's metadata.

    Raises:
        ValueError: something is not said that a record cannot do without.
    """
    for name in ("titles", "summaries", "creators", "label", "publisher"):
        if not getattr(described, name):
            raise ValueError(f"{urn}: a record cannot do without {name}")
    title, *titles = described.titles
    summary, *summaries = described.summaries
    written: Json = {
        "title": title.text,
        "additional_titles": [
            {"title": one.text, "type": {"id": "translated-title"}, "lang": _language(one)}
            for one in titles
        ],
        "description": _html(summary, whole=described.whole),
        "additional_descriptions": [
            {
                "description": _html(one, whole=described.whole),
                "type": {"id": "other"},
                "lang": _language(one),
            }
            for one in summaries
        ],
        "creators": [_creator(one) for one in described.creators],
        "publication_date": described.published.isoformat(),
        "resource_type": {"id": "dataset"},
        "version": described.label,
        "publisher": described.publisher,
        "rights": [_rights(described.licence)],
        "languages": [_language(one) for one in described.titles],
        "subjects": [{"subject": word} for word in described.keywords],
        "identifiers": [{"identifier": urn, "scheme": "urn"}],
        "related_identifiers": _related(described),
    }
    return {name: value for name, value in written.items() if value}


def says(found: Any, wanted: Any) -> bool:
    """Tell whether metadata say all that they shall; repositories add titles to what has an id."""
    if isinstance(wanted, dict):
        return isinstance(found, dict) and all(
            says(found.get(name), value) for name, value in wanted.items()
        )
    if isinstance(wanted, list):
        return (
            isinstance(found, list) and len(found) == len(wanted) and all(map(says, found, wanted))
        )
    return bool(found == wanted)


def _related(described: Description) -> list[Json]:
    relation = "isidenticalto" if described.whole else "ismetadatafor"
    related = [_relation(url, "url", relation) for url in described.mirrors]
    if described.same_doi:
        related.append(_relation(described.same_doi, "doi", relation))
    if described.previous_doi:
        related.append(_relation(described.previous_doi, "doi", "isnewversionof"))
    return related


def _relation(identifier: str, scheme: str, relation: str) -> Json:
    return {"identifier": identifier, "scheme": scheme, "relation_type": {"id": relation}}


def _creator(one: Creator) -> Json:
    who: Json = (
        {"type": "personal", "family_name": one.name, "given_name": one.given}
        if one.given
        else {"type": "organizational", "name": one.name}
    )
    if one.orcid:
        who["identifiers"] = [{"scheme": "orcid", "identifier": one.orcid}]
    places: Sequence[Json] = [{"name": one.affiliation}] if one.affiliation else ()
    return {"person_or_org": who, **({"affiliations": list(places)} if places else {})}


def _rights(licence: Licence) -> Json:
    if licence.id:
        return {"id": licence.id.lower()}
    if not licence.title:
        raise ValueError("the licence has neither an id nor a title")
    return {"title": {"en": licence.title}, **({"link": licence.url} if licence.url else {})}


def _language(text: Text) -> Json:
    if text.language not in _LANGUAGES:
        raise ValueError(f"{text.language!r} is no language of a record: give en or fr")
    return {"id": _LANGUAGES[text.language]}


def _html(text: Text, *, whole: bool) -> str:
    _language(text)
    told = text.text if whole else f"{text.text}\n\n{_ELSEWHERE[text.language]}"
    paragraphs = [" ".join(one.split()) for one in told.split("\n\n")]
    return "".join(f"<p>{escape(one, quote=False)}</p>" for one in paragraphs if one)
