"""Documents from outside, read within bounds: JSON and XML.  Pure.

Rules this module keeps:

- A document is bounded in bytes before it comes here, and in values and depth here: a small one
  may not become a large thing in memory.
- Whatever is odd is refused in one line; what a document lacks is None or empty, never an error.
"""

import json
from typing import Any, NoReturn
from xml.etree import ElementTree as ET

from fleet.importers.draft import ImportRefused

MAX_BYTES = 64 * 1024 * 1024
MAX_TAGS = 1_000_000  # of XML: an element takes a hundred times the bytes that it is written in
"""Most bytes in a document."""

_MAX_VALUES = 8_000_000
_MAX_DEPTH = 64
_TEXT = 500

Object = dict[str, Any]


def read_json(data: bytes) -> Any:
    """Read a JSON document.

    Raises:
        ImportRefused: it is none, or too large or too deep a one.
    """
    if len(data) > MAX_BYTES:
        raise ImportRefused(f"the document is larger than {MAX_BYTES:,} bytes")
    if sum(data.count(mark) for mark in (b",", b"[", b"{")) > _MAX_VALUES:
        raise ImportRefused(f"the document holds more than {_MAX_VALUES:,} values")
    try:
        value = json.loads(data, parse_constant=_refuse)
    except RecursionError:
        raise ImportRefused("the document is nested too deeply") from None
    except ValueError:  # bad UTF-8 and numbers beyond all bounds among them
        raise ImportRefused("the document is no JSON") from None
    if _deeper(value, _MAX_DEPTH):
        raise ImportRefused(f"the document is nested more than {_MAX_DEPTH} deep")
    return value


def read_xml(data: bytes) -> ET.Element:
    """Read an XML document that declares nothing: entities could grow without bound.

    Raises:
        ImportRefused: it is none, or declares a document type.
    """
    if len(data) > MAX_BYTES:
        raise ImportRefused(f"the document is larger than {MAX_BYTES:,} bytes")
    if data.count(b"<") > MAX_TAGS:
        raise ImportRefused(f"the document has more than {MAX_TAGS:,} tags")
    try:
        text = data.decode("utf-8-sig")  # in another encoding a declaration could hide
        if "<!DOCTYPE" in text or "<!ENTITY" in text:
            raise ImportRefused("the document declares a type or entities of its own")
        return ET.fromstring(text)  # noqa: S314 - nothing is declared, so nothing expands
    except (UnicodeDecodeError, ET.ParseError):
        raise ImportRefused("the document is no XML in UTF-8") from None


def object_in(holder: Any, *keys: str) -> Object:
    """Return the object below ``keys``, or an empty one."""
    for key in keys:
        holder = holder.get(key) if isinstance(holder, dict) else None
    return holder if isinstance(holder, dict) else {}


def objects_in(holder: Any, key: str) -> list[Object]:
    """Return the objects of the list below ``key``."""
    found = holder.get(key) if isinstance(holder, dict) else None
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def text_in(holder: Object, *keys: str) -> str:
    """Return the first text that stands below one of ``keys``, on one line; or an empty one.

    Of a list it is the first text: archive.org answers with one where something was said twice.
    """
    for key in keys:
        value = holder.get(key)
        if isinstance(value, list):
            value = next((one for one in value if isinstance(one, str)), None)
        if isinstance(value, str) and value.strip():
            return " ".join("".join(c if c.isprintable() else " " for c in value).split())[:_TEXT]
    return ""


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)


def _deeper(value: Any, depth: int) -> bool:
    """Whether lists and objects stand in each other more than ``depth`` deep."""
    level = [value]
    for _ in range(depth + 1):
        level = [one for one in level if isinstance(one, dict | list)]
        if not level:
            return False
        level = [
            one
            for holder in level
            for one in (holder.values() if isinstance(holder, dict) else holder)
        ]
    return True
