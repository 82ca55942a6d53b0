"""Signposts: links by which machines find from a page what it is of, and back.

Documented: https://signposting.org/FAIR/ (levels 1 and 2), RFC 8288 and RFC 9264.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from fleet.catalogue.citations.formats import FORMATS
from fleet.catalogue.citations.work import Work

Json = dict[str, Any]

LINKSET: Final = "linkset.json"
LINKSET_TYPE: Final = "application/linkset+json"
_MANY: Final = 10  # links of one relation
_MANY_LONG: Final = 1_500  # characters that they have together
_LONGEST: Final = 500  # characters of one
_TYPES: Final = ("https://schema.org/Dataset", "https://schema.org/AboutPage")
_NEIGHBOURS: Final = {
    "IsNewVersionOf": "predecessor-version",
    "IsPreviousVersionOf": "successor-version",
}
_HTML: Final = "text/html"
_SAFE: Final = "%/:=&?~#+!$;'@()*[]-._"


@dataclass(frozen=True, slots=True)
class Link:
    """A link: where it leads, in which relation, and what is there."""

    relation: str
    href: str
    media_type: str = ""
    profile: str = ""

    def __str__(self) -> str:
        """Write it as a Link header has it."""
        told = f'<{quote(self.href, safe=_SAFE)}>; rel="{self.relation}"'
        told += f'; type="{self.media_type}"' if self.media_type else ""
        return told + (f'; profile="{self.profile}"' if self.profile else "")


def header(links: Iterable[Link]) -> str:
    """Write links into one header."""
    return ", ".join(map(str, links))


def of_page(work: Work) -> list[Link]:
    """Return the links of a work's page that a header has room for: clients take a few kilobytes.

    Where files or authors are many, or an address is long, the linkset has them.
    """
    every = [one for one in _all(work) if len(str(one)) <= _LONGEST]
    number, length = Counter[str](), Counter[str]()
    for one in every:
        number[one.relation] += 1
        length[one.relation] += len(str(one))
    few = [
        one for one in every if number[one.relation] <= _MANY and length[one.relation] <= _MANY_LONG
    ]
    return [*few, Link("linkset", f"{work.page}/{LINKSET}", LINKSET_TYPE)]


def of_document(work: Work) -> list[Link]:
    """Return the links of a document that describes a work."""
    return [Link("cite-as", work.url), Link("describes", work.page, _HTML)]


def linkset(work: Work) -> Json:
    """Write all links of a work's page, and those that lead back to it (RFC 9264, 4.2)."""
    page: Json = {"anchor": work.page}
    for one in _all(work):
        page.setdefault(one.relation, []).append(_target(one))
    back = [{"href": work.page, "type": _HTML}]
    items = [{"anchor": one.url, "collection": back} for one in work.downloads]
    documents = [{"anchor": f"{work.page}/{one.file}", "describes": back} for one in FORMATS]
    return {"linkset": [page, *items, *documents]}


def _all(work: Work) -> Iterator[Link]:
    yield Link("cite-as", work.url)
    yield from (Link("type", one) for one in _TYPES)
    if work.licence.url:
        yield Link("license", work.licence.url)
    for who in work.creators:
        if known := (f"https://orcid.org/{who.orcid}" if who.orcid else who.url or who.ror):
            yield Link("author", known)
    for one in work.related:
        if one.relation in _NEIGHBOURS:
            yield Link(_NEIGHBOURS[one.relation], one.address)
    for form in FORMATS:
        address = f"{work.page}/{form.file}"
        yield Link("describedby", address, form.media_type, form.profile)
    for file in work.downloads:
        yield Link("item", file.url, file.media_type)


def _target(link: Link) -> Json:
    told: Json = {"href": link.href}
    if link.media_type:
        told["type"] = link.media_type
    return {**told, "profile": [link.profile]} if link.profile else told
