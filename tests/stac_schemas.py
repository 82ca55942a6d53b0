"""The schemas of STAC and its extensions, as files: nothing is asked of the network."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema_rs

from tests.real_data import DATA

Json = dict[str, Any]

_SCHEMAS = DATA / "schemas"
_CORE = {"Feature": "item", "Collection": "collection", "Catalog": "catalog"}
_SPEC = "https://schemas.stacspec.org"


def faults(document: Json) -> list[str]:
    """What the core schema and those of its extensions find wrong with a document."""
    core = _CORE[document["type"]]
    named = [f"{_SPEC}/v1.1.0/{core}-spec/json-schema/{core}.json"]
    named += document.get("stac_extensions", [])
    return [
        f"{document['id']}: {name}: {error.instance_path}: {error.message[:200]}"
        for name in named
        for error in _validator(name).iter_errors(document)
    ]


@cache
def _validator(name: str) -> Any:
    return jsonschema_rs.validator_for(
        _read(name), retriever=_read, validate_formats=True, base_uri=name
    )


@cache
def _read(name: str) -> Json:
    schema: Json = json.loads(_place(name.removesuffix("#")).read_bytes())
    return schema | {"$id": name}  # one of the core has a wrong one


def _place(name: str) -> Path:
    host, *parts = name.removeprefix("https://").split("/")
    if host == "stac-extensions.github.io":
        return _SCHEMAS.joinpath("stac-extensions", *parts)
    if host == "schemas.stacspec.org":
        return _SCHEMAS / "stac-spec" / parts[0] / parts[-1]
    if host == "geojson.org":
        return _SCHEMAS / "geojson" / parts[-1]
    raise LookupError(f"there is no file of the schema {name}")
