"""A ``.torrent`` that somebody made, as a source: its files, had from its web seeds.  Pure.

Sizes come from it, and each file's md5 where its maker put one in.  Its piece hashes are checked
when the torrent itself is adopted, once the files are held: then it is seeded as well.
"""

import re

from fleet.importers.batch import artifacts_offered
from fleet.importers.draft import Draft, ImportRefused, show, suggested_name
from fleet.importers.offer import Offer
from fleet.torrent.bencode import Bencoded, decode
from fleet.torrent.metainfo import MetainfoError
from fleet.torrent.parsed import ParsedTorrent, parse
from fleet.torrent.webseeds import file_url

_MD5 = re.compile(rb"[0-9A-Fa-f]{32}")
_ADOPT = "its pieces are checked by `fleet torrent adopt`, once the version is published"


def read_torrent(data: bytes) -> Draft:
    """Return the draft of a torrent's files.

    Raises:
        ImportRefused: it is no sound torrent, or names no web seed.
    """
    try:
        torrent = parse(data)
    except MetainfoError as error:
        raise ImportRefused(show(str(error))) from None
    if not torrent.web_seeds:
        raise ImportRefused(
            f"the torrent {show(torrent.name)} names no web seed to have its files from: import "
            "them from where they lie, then take it up with `fleet torrent adopt`"
        )
    sums = _md5sums(torrent)
    artifacts, notes = artifacts_offered(
        [
            Offer(
                urls=tuple(_url(torrent, seed, path) for seed in torrent.web_seeds),
                path=path,
                size=size,
                md5=sums[at],
            )
            for at, (path, size) in enumerate(torrent.files)
            if at not in torrent.padding
        ]
    )
    name = suggested_name(torrent.name, is_file=torrent.single)
    return Draft(name, "torrent", artifacts, (*notes, _ADOPT))


def _url(torrent: ParsedTorrent, seed: str, path: str) -> str:
    whole = path if torrent.single else f"{torrent.name}/{path}"
    return file_url(seed, whole, single=torrent.single)


def _md5sums(torrent: ParsedTorrent) -> list[str | None]:
    """Return the ``md5sum`` of each file, where one is given that can be one."""
    info = decode(torrent.info, max_bytes=len(torrent.info))
    assert isinstance(info, dict)
    holders = info.get(b"files", [info])
    assert isinstance(holders, list)
    return [_md5sum(one) for one in holders]


def _md5sum(holder: Bencoded) -> str | None:
    said = holder.get(b"md5sum") if isinstance(holder, dict) else None
    fits = isinstance(said, bytes) and _MD5.fullmatch(said)
    return fits[0].decode("ascii") if fits else None
