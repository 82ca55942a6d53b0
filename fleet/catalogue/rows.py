"""Items as rows of a table, and back: nothing is lost, and nothing is added.

The ``bbox`` of one that crosses the 180th meridian goes all around the Earth in a table, since it
is what readers narrow queries by; which part is meant, its geometry tells.
"""

from collections.abc import Sequence
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from fleet.catalogue.columns import MOMENTS, of_one_language
from fleet.catalogue.footprint import bounds, covering, from_wkb, to_wkb
from fleet.catalogue.item import ASSETS, moment
from fleet.catalogue.texts import OTHERS, TEXTS
from fleet.descriptions import Language

Json = dict[str, Any]

_TOP: Final = (
    *("type", "stac_version", "stac_extensions", "id", "collection"),
    *("geometry", "bbox", "links", "assets"),
)
_SIDES: Final = ("xmin", "ymin", "xmax", "ymax")


def to_rows(items: Sequence[Json], columns: pa.Schema) -> pa.RecordBatch:
    """Make a row of each Item.

    Args:
        items: in both languages, or in one if that is what the columns are for.
        columns: as ``columns.schema`` made them.

    Raises:
        ValueError: an Item says what there is no column for.
    """
    _check(items, columns)
    arrays = [_column(items, field) for field in columns]
    return pa.record_batch(arrays, schema=columns)


def to_items(rows: pa.RecordBatch) -> list[Json]:
    """Make Items of the rows again."""
    return [_item(row) for row in rows.to_pylist()]


def in_language(rows: pa.RecordBatch, language: Language) -> pa.RecordBatch:
    """Make rows in one language of those in both, as ``texts.in_language`` does of one Item."""
    own = rows.select(of_one_language(rows.schema).names)
    said: dict[str, pa.Array] = {
        key: pa.repeat(pa.scalar(value, rows.schema.field(key).type), len(rows))
        for key, value in OTHERS[language].items()
    }
    if language == "fr":
        said |= {key: pc.coalesce(rows[f"fleet:{key}_fr"], rows[key]) for key in TEXTS}
    for key, array in said.items():
        own = own.set_column(own.schema.get_field_index(key), own.schema.field(key), array)
    return own


def _check(items: Sequence[Json], columns: pa.Schema) -> None:
    known = frozenset(columns.names)
    kind = columns.field("assets").type.field(0).type
    place = kind.get_field_index("alternate")
    sites = {one.name for one in kind.field(place).type} if place >= 0 else set()
    for item in items:
        said = item["properties"]
        strange = said.keys() - known or item["assets"].keys() - set(ASSETS)
        strange = strange or said.get("storage:schemes", {}).keys() - sites
        if strange:
            raise ValueError(
                f"{item['id']}: there is no column for {', '.join(sorted(strange))}; the columns "
                "are those of roles, of sites, and of what a version is known to say"
            )


def _column(items: Sequence[Json], field: pa.Field) -> pa.Array:
    name = field.name
    if name == "geometry":
        return pa.array([to_wkb(item[name]) for item in items], field.type)
    if name == "bbox":
        boxes = zip(*(covering(tuple(item[name])) for item in items), strict=True)
        sides = [pa.array(side, pa.float64()) for side in boxes]
        return pa.StructArray.from_arrays(sides, _SIDES) if items else pa.array([], field.type)
    if name == "stac_extensions":
        return _of_few([tuple(item[name]) for item in items], field.type)
    if name in _TOP:
        return pa.array([item[name] for item in items], field.type)
    values = [item["properties"].get(name) for item in items]
    if name in MOMENTS:
        return pa.array(values, pa.string()).cast(field.type)
    return pa.array(values, field.type)


def _of_few(values: Sequence[tuple[str, ...]], kind: pa.DataType) -> pa.Array:
    """Make a column of values few of which differ, each converted once."""
    places = {value: place for place, value in enumerate(dict.fromkeys(values))}
    indices = [places[value] for value in values]
    return pa.array(list(places), kind).take(pa.array(indices, pa.int32()))


def _item(row: Json) -> Json:
    item = {name: row.pop(name) for name in _TOP}
    item["geometry"] = from_wkb(item["geometry"])
    item["bbox"] = list(bounds(item["geometry"]))
    item["links"] = [_bare(link) for link in item["links"]]
    item["assets"] = _bare(item["assets"] or {})
    for name in MOMENTS:
        if row.get(name) is not None:
            row[name] = moment(row[name])
    item["properties"] = {"datetime": None, **_bare(row)}
    return item


def _bare(value: Any) -> Any:
    """Leave out what a table has for what an Item does not say."""
    if isinstance(value, dict):
        return {key: _bare(one) for key, one in value.items() if one is not None}
    return [_bare(one) for one in value] if isinstance(value, list) else value
