"""`fleet torrent verify`: files on this machine against a torrent, whoever made it.

Rules this module keeps:

- What is not there is bad without being read; all else is read once, by all cores.
- Padding (BEP 47) is zeros that nobody keeps on disk.  Of a hybrid torrent the v1 half is checked.
- Nothing is followed through a link below the folder, and nothing is written.
"""

import errno
import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from fleet.cli.text import clean
from fleet.cli.torrent import findings
from fleet.cli.torrent.findings import Fault, Findings, runs
from fleet.cli.torrent.reading import reading
from fleet.control.errors import FleetError
from fleet.torrent.metainfo import MetainfoError
from fleet.torrent.parsed import MAX_TORRENT, ParsedTorrent, parse
from fleet.torrent.pieces import DIGEST_BYTES
from workers.hashing import HashingError, hash_pieces, open_below
from workers.regions import Content, Part

FAILED = 1
_REASONS = {
    errno.ELOOP: "it is a symbolic link",
    errno.ENOTDIR: "a name on its way is a link, or no folder",
}


def main(torrent: Path, path: Path, *, as_json: bool) -> int:
    """Verify files, and give the exit code: 0 if they are whole.

    Raises:
        FleetError: it cannot be told, for instance because a file cannot be read.
        Exit: Ctrl-C ended it.
    """
    parsed = _parsed(torrent)
    try:
        root, parts = located(parsed, path)
    except OSError as error:
        raise FleetError(f"{clean(str(path))} cannot be read: {error.strerror}") from error
    found = verified(parsed, root, parts, quiet=as_json)
    if as_json:
        sys.stdout.write(json.dumps(findings.as_json(found), ensure_ascii=False) + "\n")
    else:
        findings.show(found)
    return 0 if found.whole else FAILED


def located(parsed: ParsedTorrent, path: Path) -> tuple[Path, list[Part]]:
    """Find the folder that the torrent's files lie below, and how they are called there.

    Of a folder that fits in two ways, being what it should hold and holding what is called like
    that, the way counts in which more of the files are there.

    Raises:
        FleetError: there is neither.
    """
    shown = clean(str(path))
    if not path.exists():
        raise FleetError(f"{shown} does not exist")
    if parsed.single and path.is_dir():
        return path, [Part(parsed.name, parsed.size)]
    if parsed.single:
        real = path.resolve()
        return real.parent, [Part(real.name, parsed.size)]
    fitting = [path / parsed.name, *([path] if path.resolve().name == parsed.name else [])]
    folders = [folder for folder in fitting if folder.is_dir()]
    if not folders:
        raise FleetError(f"{shown} holds no folder {clean(parsed.name)}, and is not that folder")
    files = [path for path, _ in parsed.files]
    root = max(folders, key=lambda folder: sum((folder / file).exists() for file in files))
    return root, [
        Part(None if number in parsed.padding else path, size)
        for number, (path, size) in enumerate(parsed.files)
    ]


def verified(parsed: ParsedTorrent, root: Path, parts: list[Part], *, quiet: bool) -> Findings:
    """Read what is there and compare it, piece by piece.

    Raises:
        FleetError: a file cannot be read, or changes meanwhile.
        Exit: Ctrl-C ended it.
    """
    faults, held = _looked(root, parts)
    parts = [part._replace(held=count) for part, count in zip(parts, held, strict=True)]
    content = Content(parts, parsed.piece_length)
    absent: set[int] = set()
    for file, part in enumerate(parts):
        if part.held is not None:
            absent.update(content.covering(file, part.held, part.size))
    wanted = runs(piece for piece in range(content.pieces) if piece not in absent)
    total = min(sum(len(run) for run in wanted) * content.length, content.size)
    with reading(parsed.name, total, quiet=quiet) as progress:
        hashes = hash_pieces(root, parts, content.length, only=wanted, progress=progress)
    bad = absent.union(_wrong(parsed.pieces, hashes, wanted))
    return Findings(parsed.name, parsed.infohash, content, runs(sorted(bad)), faults)


def _parsed(torrent: Path) -> ParsedTorrent:
    shown = clean(str(torrent))
    try:
        with torrent.open("rb") as file:
            return parse(file.read(MAX_TORRENT + 1))
    except MetainfoError as error:
        raise FleetError(f"{shown}: {clean(str(error))}") from error
    except OSError as error:
        raise FleetError(f"{shown} cannot be read: {error.strerror}") from error


def _looked(root: Path, parts: Sequence[Part]) -> tuple[list[Fault], list[int | None]]:
    """Look at each file without reading it: its fault, and its size; padding has neither."""
    faults: list[Fault] = []
    held: list[int | None] = []
    try:
        folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise FleetError(f"{clean(str(root))} cannot be read: {error.strerror}") from error
    try:
        for path, size, _ in parts:
            fault = None if path is None else _fault(folder, path, size)
            faults += [fault] if fault else []
            held.append(None if path is None else fault.found if fault else size)
    finally:
        os.close(folder)
    return faults, held


def _fault(folder: int, path: str, size: int) -> Fault | None:
    """Say what is wrong with the file in its place; None if it is as long as it should be."""
    try:
        descriptor = open_below(folder, path)
        found = os.fstat(descriptor).st_size
        os.close(descriptor)
    except FileNotFoundError:
        return Fault("missing", path, size)
    except HashingError:
        return Fault("unusable", path, size, reason="it is no regular file")
    except OSError as error:
        reason = _REASONS.get(error.errno or 0, error.strerror or "it cannot be read")
        return Fault("unusable", path, size, reason=reason)
    if found == size:
        return None
    return Fault("short" if found < size else "long", path, size, found)


def _wrong(expected: bytes, hashes: bytes, wanted: Sequence[range]) -> Iterator[int]:
    """Name the pieces of these runs whose ``hashes`` are not the ``expected`` ones of all."""
    for turn, piece in enumerate(piece for run in wanted for piece in run):
        at, told = turn * DIGEST_BYTES, piece * DIGEST_BYTES
        if hashes[at : at + DIGEST_BYTES] != expected[told : told + DIGEST_BYTES]:
            yield piece
