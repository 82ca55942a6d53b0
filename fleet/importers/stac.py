"""STAC documents in JSON: an Item, a Collection, a collection of Items.  Pure.

Rules this module keeps:

- An asset is a file: its ``file:size``, its ``file:checksum`` where that is a sha256 or an md5,
  and its alternates, which the extension requires to be byte-identical.
- What a service renders anew whenever it is asked (a preview, a thumbnail or tiles, by a URL with
  a query) is no file, and is left out.
- Other documents that a Collection or a page of Items leads to are named, for whoever fetches.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from urllib.parse import urljoin

from fleet.importers.batch import artifacts_offered
from fleet.importers.documents import Object, object_in, objects_in, read_json, text_in
from fleet.importers.draft import MAX_ITEMS, Draft, ImportRefused, counted, suggested_name
from fleet.importers.offer import Offer
from fleet.importers.place import over_http

_RENDERED = {"overview", "thumbnail", "tiles"}
_LED_TO = {"Collection": {"item", "items"}, "FeatureCollection": {"next"}}
_CHECKED = ("1220", "d50110")  # multihash: sha2-256 and md5, each with its length
_HTTP = ("http://", "https://")


@dataclass
class Found:
    """What was found so far, in one document or in several.

    Attributes:
        offers: every asset, in order.
        links: further documents, each once.
        id: the first document's.
        title: likewise.
        licence: likewise, or its Collection's.
        rendered: how many assets were left out because a service renders them.
        unchecked: how many checksums are of a kind that is not checked.
        elsewhere: how many alternates were left out because they are not had over HTTP.
        astray: how many references are relative to nobody knows what.
    """

    offers: list[Offer] = field(default_factory=list)
    links: dict[str, None] = field(default_factory=dict)
    id: str = ""
    title: str = ""
    licence: str = ""
    rendered: int = 0
    unchecked: int = 0
    elsewhere: int = 0
    astray: int = 0

    def draft(self, notes: Iterable[str] = ()) -> Draft:
        """Return the draft of all that was found.

        Raises:
            ImportRefused: that is no file.
        """
        artifacts, more = artifacts_offered(self.offers)
        return Draft(
            name=suggested_name(self.id, is_file=False),
            kind="stac",
            artifacts=artifacts,
            notes=(*notes, *self._left_out(), *more),
            title=self.title,
            licence=self.licence,
        )

    def _left_out(self) -> Iterator[str]:
        if self.rendered:
            yield f"left out {counted(self.rendered, 'asset')} that a service renders when asked"
        if self.elsewhere:
            yield f"left out {counted(self.elsewhere, 'alternate')} not had over HTTP"
        if self.unchecked:
            yield f"ignored {counted(self.unchecked, 'checksum')} that are neither sha-256 nor md5"
        if self.astray:
            yield (
                f"{counted(self.astray, 'reference')} relative to nobody knows what: import the "
                "document by its URL"
            )


def read_document(data: bytes, base: str, s3_endpoint: str, found: Found) -> None:
    """Add to ``found`` what a document names.

    Args:
        data: the document.
        base: its URL, or empty: then its ``self`` link is what its references are relative to.
        s3_endpoint: where an ``s3://`` reference is read.
        found: what was found before.

    Raises:
        ImportRefused: it is no such document.
    """
    document = read_json(data)
    if isinstance(document, list):
        document = {"type": "FeatureCollection", "features": document}
    document = document if isinstance(document, dict) else {}
    kind = text_in(document, "type")
    if kind == "Catalog":
        raise ImportRefused("the document is a Catalog: name one of its collections or items")
    members = objects_in(document, "features") if kind == "FeatureCollection" else [document]
    bare = kind != "Collection" and not all("assets" in one for one in members)
    if bare or kind not in {"Feature", *_LED_TO}:  # any other GeoJSON has no assets
        raise ImportRefused("the document is no STAC Item, Collection or collection of Items")
    if not found.id:
        whole = kind != "FeatureCollection" or not members
        found.id = text_in(document, "id") if whole else text_in(members[0], "collection", "id")
        found.title, found.licence = _said(document, "title"), _said(document, "license")
    for member in members:
        add_assets(found, member, base or _self(member) or _self(document), s3_endpoint)
    found.links.update(dict.fromkeys(_links(document, kind, base or _self(document))))


def add_assets(found: Found, member: Object, base: str, s3_endpoint: str) -> None:
    """Add the assets of an Item or Collection to ``found``, but those that a service renders.

    Raises:
        ImportRefused: there are too many.
    """
    for asset in object_in(member, "assets").values():
        if len(found.offers) == MAX_ITEMS:
            raise ImportRefused(f"there are more than {MAX_ITEMS:,} files; import them in parts")
        if isinstance(asset, dict):
            _add(found, asset, base, s3_endpoint)


def _add(found: Found, asset: Object, base: str, s3_endpoint: str) -> None:
    href = _joined(base, _href(asset))
    if _RENDERED.intersection(_texts(asset.get("roles"))) and "?" in href:
        found.rendered += 1
        return
    others = [_href(one) for one in object_in(asset, "alternate").values()]
    urls = {over_http(_joined(base, one), s3_endpoint): None for one in (href, *others) if one}
    had = [url for url in urls if url.startswith(_HTTP)]
    found.elsewhere += len(urls) - len(had) if had else 0
    found.astray += not had and "://" not in href
    kind, digest = _checksum(asset, found)
    found.offers.append(
        Offer(
            urls=tuple(had or urls),
            size=asset.get("file:size"),
            sha256=digest if kind == "1220" else None,
            md5=digest if kind == "d50110" else None,
        )
    )


def _checksum(asset: Object, found: Found) -> tuple[str, str]:
    """Read a multihash: its kind as it is written, and the digest in hex."""
    said = asset.get("file:checksum")
    if said is None:
        return "", ""
    for kind in _CHECKED:
        if isinstance(said, str) and said.lower().startswith(kind):
            return kind, said[len(kind) :]
    found.unchecked += 1
    return "", ""


def _links(document: Object, kind: str, base: str) -> Iterator[str]:
    """Yield the documents that this one leads to, and that a plain GET can have."""
    for link in objects_in(document, "links"):
        plain = link.get("method", "GET") == "GET"
        href = _joined(base, _href(link))
        if plain and text_in(link, "rel") in _LED_TO.get(kind, ()) and href.startswith(_HTTP):
            yield href


def _self(document: Object) -> str:
    """Return where the document says that it is, if that is an address."""
    selves = (_href(one) for one in objects_in(document, "links") if one.get("rel") == "self")
    return next((href for href in selves if href.startswith(_HTTP)), "")


def _said(document: Object, key: str) -> str:
    return text_in(document, key) or text_in(object_in(document, "properties"), key)


def _href(holder: object) -> str:
    href = holder.get("href") if isinstance(holder, dict) else None
    return href if isinstance(href, str) else ""


def _joined(base: str, href: str) -> str:
    try:
        return urljoin(base, href) if href else ""  # joined, nothing would be the base itself
    except ValueError:  # whoever judges it says why
        return href


def _texts(value: object) -> list[str]:
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []
