"""Metalink documents (RFC 5854): a file's size and digests, and where it is had."""

from collections.abc import Iterable
from dataclasses import dataclass
from xml.etree.ElementTree import Element, SubElement, indent, tostring

MEDIA_TYPE = "application/metalink4+xml"
_NAMESPACE = "urn:ietf:params:xml:ns:metalink"


@dataclass(frozen=True, slots=True)
class Subject:
    """The file that a document is of; ``pieces`` are the SHA-1 of each ``piece_length`` bytes."""

    name: str
    identity: str
    version: str
    size: int
    sha256: str
    piece_length: int = 0
    pieces: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Address:
    """Where a file is read, and the country that stands in, if known."""

    url: str
    country: str = ""


def document(subject: Subject, addresses: Iterable[Address], torrent: str = "") -> bytes:
    """Write a document down.

    Args:
        subject: the file.
        addresses: where it is read, the best first.
        torrent: where its torrent is read, if it has one that is of this file alone.
    """
    root = Element("metalink", xmlns=_NAMESPACE)
    file = SubElement(root, "file", name=subject.name)
    SubElement(file, "identity").text = subject.identity
    SubElement(file, "version").text = subject.version
    SubElement(file, "size").text = str(subject.size)
    SubElement(file, "hash", type="sha-256").text = subject.sha256
    if subject.pieces:
        pieces = SubElement(file, "pieces", length=str(subject.piece_length), type="sha-1")
        for piece in subject.pieces:
            SubElement(pieces, "hash").text = piece
    priority = 0
    for priority, one in enumerate(addresses, 1):
        url = SubElement(file, "url", priority=str(priority))
        if one.country:
            url.set("location", one.country.lower())
        url.text = one.url
    if torrent:
        after = str(priority + 1)
        SubElement(file, "metaurl", mediatype="torrent", priority=after).text = torrent
    indent(root)
    return b'<?xml version="1.0" encoding="UTF-8"?>\n' + tostring(root) + b"\n"
