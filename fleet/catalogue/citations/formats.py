"""The formats that a citation is had in: by which name, file and media type."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from fleet.catalogue.citations.bibtex import bibtex
from fleet.catalogue.citations.croissant import PROFILE, croissant
from fleet.catalogue.citations.csl import csl
from fleet.catalogue.citations.datacite import datacite
from fleet.catalogue.citations.schema_org import MEDIA_TYPE as LD_JSON
from fleet.catalogue.citations.schema_org import schema_org
from fleet.catalogue.citations.work import Work


@dataclass(frozen=True, slots=True)
class Format:
    """A format.

    Attributes:
        name: as commands have it.
        label: as people read it.
        file: its name beside the page of the work.
        media_type: which it is asked for by, and answered with.
        write: makes the document of a work.
        profile: that tells it from others of its media type, or empty.
    """

    name: str
    label: str
    file: str
    media_type: str
    write: Callable[[Work], str]
    profile: str = ""

    @property
    def content_type(self) -> str:
        """The media type with its profile."""
        return f'{self.media_type}; profile="{self.profile}"' if self.profile else self.media_type


def _json(make: Callable[[Work], dict[str, Any]]) -> Callable[[Work], str]:
    return lambda work: json.dumps(make(work), ensure_ascii=False, indent=2) + "\n"


FORMATS: Final = (
    Format("bibtex", "BibTeX", "cite.bib", "application/x-bibtex", bibtex),
    Format("csl", "CSL", "cite.csl.json", "application/vnd.citationstyles.csl+json", _json(csl)),
    Format(
        "datacite",
        "DataCite",
        "cite.datacite.json",
        "application/vnd.datacite.datacite+json",
        _json(datacite),
    ),
    Format("jsonld", "schema.org", "cite.jsonld", LD_JSON, _json(schema_org)),
    Format("croissant", "Croissant", "cite.croissant.json", LD_JSON, _json(croissant), PROFILE),
)
BY_NAME: Final = {one.name: one for one in FORMATS}
BY_FILE: Final = {one.file: one for one in FORMATS}
