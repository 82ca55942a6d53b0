"""What InvenioRDM demands of a record's metadata (invenio-rdm-records, ``services/schemas``).

A draft may be saved with anything missing: what is invalid is left out and reported, and only
publishing refuses (invenio-drafts-resources, ``update_draft``: "only saves valid metadata and
reports (doesn't raise) errors").
"""

import re
from datetime import date
from typing import Any

from fleet.rehearsal.zenodo.state import Complaint, Json, Refused, complaint

MISSING = "Missing data for required field."
REQUIRED = ("resource_type", "creators", "title", "publication_date")
TEXTS = {"title": 3, "description": 3, "copyright": 1, "publisher": 0, "version": 0}
LISTS = {
    *("additional_descriptions", "additional_titles", "contributors", "creators", "dates"),
    *("formats", "funding", "identifiers", "languages", "references", "related_identifiers"),
    *("rights", "sizes", "subjects"),
}
STRINGS = {"formats", "sizes"}
OBJECTS = {"locations", "resource_type"}
# The first halves of Zenodo's resource types ("image-photo"); the second is not checked here.
RESOURCE_TYPES = {
    *("dataset", "event", "image", "lesson", "model", "other", "physicalobject", "poster"),
    *("presentation", "publication", "software", "video", "workflow"),
}
PERSONS = {"personal": "family_name", "organizational": "name"}


def saved(given: Any) -> tuple[Json, list[Complaint]]:
    """Part what a draft keeps of the metadata from what is wrong with them."""
    if not isinstance(given, dict):
        return {}, [complaint("metadata", "Invalid input type.")]
    kept: Json = {}
    complaints = []
    for name, value in given.items():
        found = _wrong(name, value)
        if found is None:
            kept[name] = value
        else:
            complaints.append(found)
    told = {wrong["field"].split(".")[1] for wrong in complaints}
    return kept, complaints + [
        lack for lack in lacking(kept) if lack["field"].split(".")[1] not in told
    ]


def lacking(metadata: Json) -> list[Complaint]:
    """Tell which required fields are not there."""
    return [complaint(f"metadata.{name}", MISSING) for name in REQUIRED if not metadata.get(name)]


def _wrong(name: str, value: Any) -> Complaint | None:
    where = f"metadata.{name}"
    if name == "publication_date":
        return None if _is_date(value) else complaint(where, "Please provide a valid date.")
    if name in TEXTS:
        return _wrong_text(where, value, TEXTS[name])
    if name in LISTS:
        kind = str if name in STRINGS else dict
        if not isinstance(value, list) or not all(isinstance(item, kind) for item in value):
            return complaint(where, "Not a valid list.")
        return _wrong_creator(value) if name == "creators" else None
    if name in OBJECTS:
        if not isinstance(value, dict):
            return complaint(where, "Invalid input type.")
        return _wrong_type(value) if name == "resource_type" else None
    return complaint(where, "Unknown field.")


def _wrong_text(where: str, value: Any, least: int) -> Complaint | None:
    if not isinstance(value, str):
        return complaint(where, "Not a valid string.")
    if len(value) < least:
        return complaint(where, f"Shorter than minimum length {least}.")
    return None


def _wrong_type(value: Json) -> Complaint | None:
    name = value.get("id")
    if not name:
        return complaint("metadata.resource_type.id", MISSING)
    if str(name).split("-")[0] not in RESOURCE_TYPES:
        # Vocabularies are looked up after the schema, and refused at once (InvalidRelationValue).
        raise Refused(400, f"Invalid value {name}.")
    return None


def _wrong_creator(creators: list[Json]) -> Complaint | None:
    for number, creator in enumerate(creators):
        where = f"metadata.creators.{number}.person_or_org"
        who = creator.get("person_or_org")
        if not isinstance(who, dict):
            return complaint(where, MISSING)
        if str(who.get("type")) not in PERSONS:
            names = sorted(PERSONS)
            return complaint(f"{where}.type", f"Invalid value. Choose one of {names}.")
        needed = PERSONS[who["type"]]
        if not isinstance(who.get(needed), str) or not who[needed]:
            text = "Family name must be filled." if needed != "name" else "Name can not be blank."
            return complaint(f"{where}.{needed}", text)
        places = creator.get("affiliations") or []
        if not isinstance(places, list) or not all(isinstance(place, dict) for place in places):
            return complaint(f"metadata.creators.{number}.affiliations", "Not a valid list.")
    return None


def _is_date(value: Any) -> bool:
    """Tell whether it is a date or an interval of EDTF level 0."""
    return isinstance(value, str) and all(_is_day(day) for day in value.split("/", 1))


def _is_day(value: str) -> bool:
    if not re.fullmatch(r"\d{4}(-\d{2}(-\d{2})?)?", value):
        return False
    try:
        date.fromisoformat(value + "-01-01"[len(value) - 4 :])
    except ValueError:
        return False
    return True
