"""Croissant 1.0, which tools for machine learning load datasets by.

Documented: https://docs.mlcommons.org/croissant/docs/croissant-spec-1.0.html; the context is that
of its reference implementation, which compares it.  Of a torrent no sha256 is known, which the
format demands: only files are told.
"""

from typing import Any, Final

from fleet.catalogue.citations.bibtex import bibtex
from fleet.catalogue.citations.schema_org import schema_org
from fleet.catalogue.citations.work import Work

Json = dict[str, Any]

PROFILE: Final = "http://mlcommons.org/croissant/1.0"
CONTEXT: Final[Json] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
# What has another Dataset within it, for readers take whichever they meet first for the one meant
_LEFT_OUT: Final = ("@id", "workTranslation", "exampleOfWork", "workExample")


def croissant(work: Work) -> Json:
    """Describe a work and its files."""
    written = schema_org(work)
    for name in _LEFT_OUT:
        written.pop(name, None)
    return {
        **written,
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": PROFILE,
        "citeAs": bibtex(work),
        "distribution": [
            {
                "@type": "cr:FileObject",
                "@id": one.name,
                "name": one.name,
                "contentUrl": one.url,
                "contentSize": f"{one.size} B",
                "encodingFormat": one.media_type,
                "sha256": one.sha256,
            }
            for one in work.downloads
            if one.sha256
        ],
    }
