"""What a torrent holds: a few facts, its files, its links."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fleet.cli.text import clean, size
from fleet.cli.torrent.torrent_file import parsed, read
from fleet.torrent.metainfo import magnet
from fleet.torrent.parsed import ParsedTorrent
from fleet.torrent.pieces import piece_count
from fleet.torrent.webseeds import first_url

MOST_FILES = 20


def main(path: Path, *, as_json: bool) -> None:
    """Print a torrent.

    Raises:
        FleetError: the file is no torrent that we would use.
    """
    torrent = parsed(path, read(path))
    if as_json:
        sys.stdout.write(json.dumps(_facts(torrent), ensure_ascii=False) + "\n")
        return
    for line in _lines(torrent):
        sys.stdout.write(f"{clean(line)}\n")


def seed_facts(torrent: ParsedTorrent) -> list[dict[str, str]]:
    """List the web seeds, each with the URL that clients would ask it for (the first file's)."""
    return [{"url": seed, "asks": first_url(torrent, seed)} for seed in torrent.web_seeds]


def _facts(torrent: ParsedTorrent) -> dict[str, Any]:
    return {
        "name": torrent.name,
        "infohash": torrent.infohash,
        "kind": _kind(torrent),
        "private": torrent.private,
        "size": torrent.size,
        "piece_length": torrent.piece_length,
        "pieces": piece_count(torrent.size, torrent.piece_length),
        "files": [
            {"path": path, "size": length, "padding": at in torrent.padding}
            for at, (path, length) in enumerate(torrent.content)
        ],
        "web_seeds": seed_facts(torrent),
        "trackers": torrent.trackers,
        "comment": torrent.comment,
        "magnet": _magnet(torrent),
    }


def _lines(torrent: ParsedTorrent) -> Iterator[str]:
    yield f"name       {torrent.name}"
    yield f"infohash   {torrent.infohash}"
    yield f"kind       {_kind(torrent)}{', private' * torrent.private}"
    yield f"size       {size(torrent.size)} ({torrent.size:,} bytes)"
    count = piece_count(torrent.size, torrent.piece_length)
    yield f"pieces     {count:,} of {torrent.piece_length // 1024:,} KiB"
    yield from _list("web seeds", torrent.web_seeds)
    yield from _list("trackers", torrent.trackers)
    yield f"comment    {torrent.comment or '-'}"
    yield f"magnet     {_magnet(torrent)}"
    first = torrent.content[:MOST_FILES]
    yield from _list("files", tuple(f"{size(length):>6}  {path}" for path, length in first))
    more = len(torrent.files) - MOST_FILES
    if more > 0:
        yield f"           and {more:,} more (--json has them all)"


def _list(title: str, values: tuple[str, ...]) -> Iterator[str]:
    """Write a value a line, the title beside the first."""
    for number, value in enumerate(values or ("-",)):
        yield f"{title if not number else '':<11}{value}"


def _kind(torrent: ParsedTorrent) -> str:
    return "hybrid" if torrent.hybrid else "v1"


def _magnet(torrent: ParsedTorrent) -> str:
    return magnet(torrent, web_seeds=torrent.web_seeds, trackers=torrent.trackers)
