"""Where a shard's torrent meets the folders of a site.

A site keeps an artifact at ``<root>/<dataset>/<version>/<path>`` and lets it be read at
``<read_url>/<dataset>/<version>/<path>``.  Torrents are named so that a peer saves into that very
layout and any site is a web seed as it is, without a copy or a link made for it.
"""

from collections.abc import Sequence
from typing import Protocol
from urllib.parse import quote, urlsplit

from fleet.torrent.metainfo import Metainfo, MetainfoError


class Named(Protocol):
    """What the address of a torrent's content depends on."""

    @property
    def name(self) -> str:
        """The file's name, or the folder's."""

    @property
    def single(self) -> bool:
        """Whether it is a lone file, without a folder around it."""


def shard_metainfo(
    dataset: str, version: str, files: Sequence[tuple[str, int]], piece_length: int, pieces: bytes
) -> Metainfo:
    """Make the canonical torrent of a shard.

    A lone artifact's torrent is that file, under its own last name.  A bundle's is the dataset's
    folder with ``<version>/<path>`` in it.

    Args:
        dataset: the dataset's id.
        version: the version's label.
        files: the artifacts' paths and sizes in the shard's order, laid end to end.
        piece_length: as ``pieces.piece_length`` gave it, in bytes.
        pieces: the 20-byte SHA-1 of each piece, joined.

    Raises:
        MetainfoError: no torrent can be made of these.
    """
    if len(files) == 1:
        path, size = files[0]
        name = path.rpartition("/")[2]
        return Metainfo(name, ((name, size),), piece_length, pieces)
    below = tuple((f"{version}/{path}", size) for path, size in files)
    return Metainfo(dataset, below, piece_length, pieces)


def save_folder(dataset: str, version: str, meta: Metainfo, path: str) -> str:
    """Name the folder, below a site's root, that a torrent is saved to; empty: the root.

    Args:
        dataset: the dataset's id.
        version: the version's label.
        meta: the shard's torrent.
        path: the path, within its version, of the shard's first artifact.
    """
    if not meta.single:
        return ""
    return "/".join(part for part in (dataset, version, path.rpartition("/")[0]) if part)


def web_seed(read_url: str, folder: str, meta: Named) -> str:
    """Name the address at which a site that is read over HTTP is a web seed (BEP 19).

    For a lone file it is the file's full address.  For a folder of files it is a base that ends
    in ``/``, to which clients append the torrent's name and each path themselves.

    Args:
        read_url: where the site's root is read.
        folder: what ``save_folder`` gave.
        meta: the shard's torrent.

    Raises:
        MetainfoError: ``read_url`` is no base that paths can be appended to.
    """
    parts = urlsplit(read_url)
    if parts.scheme not in {"http", "https"} or not parts.netloc or parts.query or parts.fragment:
        raise MetainfoError(f"{read_url!r} is no base for web seeds: give http(s)://host/path")
    names = [quote(name, safe="") for name in folder.split("/") if name]
    last = quote(meta.name, safe="") if meta.single else ""
    return "/".join((read_url.rstrip("/"), *names, last))
