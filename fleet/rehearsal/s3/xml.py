"""The XML that clients send: flat lists of small elements."""

from collections.abc import Iterator
from dataclasses import dataclass
from xml.etree import ElementTree as ET

from fleet.rehearsal.exchange import Asked
from fleet.rehearsal.s3.errors import Refused

MOST = 2 << 20  # ten thousand parts with a checksum each


@dataclass(frozen=True)
class Sent:
    """A document's children: lists of entries by name, and single values."""

    lists: tuple[tuple[str, dict[str, str]], ...]
    values: dict[str, str]

    def entries(self, name: str) -> Iterator[dict[str, str]]:
        """Give the entries of one name."""
        return (entry for found, entry in self.lists if found == name)


def read(asked: Asked, root: str) -> Sent:
    """Read a request's body; MalformedXML where it is not what is due."""
    if asked.body.length > MOST:
        raise Refused("MalformedXML")
    try:
        document = ET.fromstring(asked.body.read())  # noqa: S314 - from this machine
    except ET.ParseError:
        raise Refused("MalformedXML") from None
    if _name(document) != root:
        raise Refused("MalformedXML")
    lists = tuple(
        (_name(child), {_name(field): (field.text or "").strip() for field in child})
        for child in document
        if len(child)
    )
    return Sent(lists, {_name(child): child.text or "" for child in document if not len(child)})


def _name(element: ET.Element) -> str:
    return element.tag.rpartition("}")[2]
