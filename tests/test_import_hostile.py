"""Documents that nobody meant well: nothing but a refusal or a sound draft comes of them."""

import contextlib
import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from fleet.importers.archive import read_item
from fleet.importers.draft import Draft, ImportRefused
from fleet.importers.place import Item, Prefix, Record
from fleet.importers.s3 import draft_of_objects, read_page
from fleet.importers.stac_table import draft_of_stac
from fleet.importers.torrent import read_torrent
from fleet.importers.zenodo import read_record
from tests.real_data import DATA
from tests.test_import_offers import PATHS
from tests.test_import_torrent import file, torrent

unhurried = settings(deadline=None)  # a busy machine is no failure

paths = st.sampled_from(PATHS)
urls = st.builds("https://a.example/{}".format, paths)
values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)
FIELDS = [
    *("id", "files", "entries", "key", "size", "checksum", "metadata", "title", "license", "pids"),
    *("name", "source", "md5", "private", "type", "assets", "links", "href", "rel", "roles"),
    *("alternate", "file:size", "file:checksum", "features", "access", "rights", "count"),
]
KINDS = st.sampled_from(["Feature", "Collection", "FeatureCollection", "item", "self", "original"])
documents = st.recursive(
    st.one_of(values, KINDS, paths, urls),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(FIELDS), inner, max_size=6),
        st.fixed_dictionaries({"id": st.just("7"), "type": KINDS, "files": inner, "assets": inner}),
    ),
    max_leaves=20,
)


def read_all(data: bytes) -> list[Draft]:
    """Read ``data`` as everything that it could be."""
    found: list[Draft] = []
    for read in (
        lambda: read_record(data, Record("https://zenodo.org", "7")),
        lambda: read_item(data, Item("https://archive.org", "abc")),
        lambda: draft_of_stac(data, "https://s3.example"),
        lambda: draft_of_objects(
            read_page(data).objects, Prefix("https://s3.example", "bucket", "")
        ),
        lambda: read_torrent(data),
    ):
        with contextlib.suppress(ImportRefused):
            found.append(read())
    return found


def check(drafts: list[Draft]) -> None:
    for draft in drafts:
        assert draft.artifacts
        assert all(bool(one.path) != bool(one.refused) for one in draft.artifacts)
        assert all(text.isprintable() for text in (*draft.notes, draft.title, draft.licence))
        assert all(one.refused.isprintable() for one in draft.artifacts)


@unhurried
@given(documents)
def test_no_document_raises_anything_but_a_refusal(document: Any) -> None:
    check(read_all(json.dumps(document).encode("utf-8", "surrogatepass")))


TORRENT = torrent({b"files": [file("a", 3), file("b/c", 4)]}, "https://a.example/")
XML = (
    b"<ListBucketResult><Contents><Key>a</Key><Size>1</Size><ETag>&quot;x&quot;</ETag></Contents>"
    b"</ListBucketResult>"
)
REAL = [path.read_bytes() for path in sorted(DATA.glob("zenodo/*legacy.json"))][:1]


@unhurried
@given(
    st.sampled_from([TORRENT, XML, *REAL]),
    st.lists(st.tuples(st.integers(0), st.binary(min_size=1, max_size=3)), max_size=4),
    st.integers(0),
)
def test_no_damage_raises_anything_but_a_refusal(
    whole: bytes, changes: list[tuple[int, bytes]], end: int
) -> None:
    data = bytearray(whole)
    for place, change in changes:
        at = place % len(data)
        data[at : at + len(change)] = change
    check(read_all(bytes(data[: end % (len(data) + 1) or None])))
