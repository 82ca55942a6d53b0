"""The columns that Items become, as the STAC GeoParquet specification 1.0.0 has them.

They follow from the sites alone, which are the keys of alternates and of storage schemes; so that
tables of the same sites can be put together as they are, whatever is in them.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import pyarrow as pa

from fleet.catalogue.item import ASSETS

_TEXT: Final = pa.string()
_TEXTS: Final = pa.list_(_TEXT)
_MOMENT: Final = pa.timestamp("us", tz="UTC")
_LANGUAGE: Final = pa.struct([("code", _TEXT)])

MOMENTS: Final = ("datetime", "start_datetime", "end_datetime", "published")
_FRENCH: Final = ("fleet:title_fr", "fleet:description_fr", "fleet:keywords_fr")
SORTED: Final = ("collection", "fleet:sequence")
# What queries are narrowed by, so that its least and greatest values are noted for each row group
NARROWING: Final = (
    *("collection", "id", "version", "license", "deprecated"),
    *("datetime", "published", "sci:doi", "fleet:state", "fleet:size"),
    *(f"bbox.{side}" for side in ("xmin", "ymin", "xmax", "ymax")),
)
# Of which hardly two are alike: no dictionary is made of them
_UNLIKE: Final = frozenset(
    {"id", "href", "title", "file:size", "file:checksum", "fleet:md5", "fleet:infohash"}
    | {"published", "fleet:size", "url", "verified_at", "sci:doi", "processing:lineage"}
)
_MIRRORS: Final = pa.list_(
    pa.struct(
        [
            ("site", _TEXT),
            ("kind", _TEXT),
            ("url", _TEXT),
            ("region", _TEXT),
            ("country", _TEXT),
            ("verified_at", _TEXT),
            ("shards", pa.list_(pa.int32())),
        ]
    )
)
_LINKS: Final = pa.list_(
    pa.struct(
        [
            ("rel", _TEXT),
            ("href", _TEXT),
            ("type", _TEXT),
            ("title", _TEXT),
            ("fleet:infohash", _TEXT),
        ]
    )
)
_TOP: Final = (
    ("type", _TEXT),
    ("stac_version", _TEXT),
    ("stac_extensions", _TEXTS),
    ("id", _TEXT),
    ("collection", _TEXT),
    ("geometry", pa.binary()),
    ("bbox", pa.struct([(side, pa.float64()) for side in ("xmin", "ymin", "xmax", "ymax")])),
    ("links", _LINKS),
)
_PROPERTIES: Final = (
    ("title", _TEXT),
    ("description", _TEXT),
    ("keywords", _TEXTS),
    ("language", _LANGUAGE),
    ("languages", pa.list_(_LANGUAGE)),
    *((name, _MOMENT) for name in MOMENTS),
    ("version", _TEXT),
    ("deprecated", pa.bool_()),
    ("license", _TEXT),
    ("sci:doi", _TEXT),
    ("processing:lineage", _TEXT),
    ("fleet:title_fr", _TEXT),
    ("fleet:description_fr", _TEXT),
    ("fleet:keywords_fr", _TEXTS),
    ("fleet:state", _TEXT),
    ("fleet:sequence", pa.int64()),
    ("fleet:licence", _TEXT),
    ("fleet:licence_retrieved", _TEXT),
    ("fleet:concept_doi", _TEXT),
    ("fleet:footprint", _TEXT),
    ("fleet:files", pa.int64()),
    ("fleet:size", pa.int64()),
    ("fleet:mirrors", _MIRRORS),
)


def schema(sites: Sequence[str]) -> pa.Schema:
    """Return the columns of Items in both languages, whose files lie at some of ``sites``."""
    asset = [
        ("href", _TEXT),
        ("title", _TEXT),
        ("type", _TEXT),
        ("roles", _TEXTS),
        ("file:size", pa.int64()),
        ("file:checksum", _TEXT),
        ("fleet:md5", _TEXT),
    ]
    more = []
    if sites:  # Parquet has no structs without fields
        alternate = pa.struct([("href", _TEXT), ("storage:refs", _TEXTS)])
        asset.append(("alternate", pa.struct([(site, alternate) for site in sites])))
        scheme = pa.struct([("type", _TEXT), ("platform", _TEXT), ("region", _TEXT)])
        more.append(("storage:schemes", pa.struct([(site, scheme) for site in sites])))
    assets = pa.struct([(key, pa.struct(asset)) for key in ASSETS])
    return pa.schema([*_TOP, ("assets", assets), *_PROPERTIES, *more])


def of_one_language(columns: pa.Schema) -> pa.Schema:
    """Return the columns of Items in one language."""
    return pa.schema([one for one in columns if one.name not in _FRENCH])


def alike(columns: pa.Schema) -> list[str]:
    """Name the leaves, by their paths in Parquet, of which a dictionary is worth its while."""
    return [path for path, name in _leaves(columns) if name not in _UNLIKE]


def _leaves(fields: Any, above: str = "") -> Iterator[tuple[str, str]]:
    """Yield each leaf's path and its own name."""
    for field in fields:
        path = f"{above}{field.name}"
        kind = field.type
        while pa.types.is_list(kind):
            path, kind = f"{path}.list.element", kind.value_type
        if pa.types.is_struct(kind):
            yield from _leaves(kind, f"{path}.")
        else:
            yield path, field.name
