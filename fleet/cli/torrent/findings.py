"""What a verification found, pure: for a person, and for a program.

Rules this module keeps:

- Files are whole only if every piece is good and every file is as long as the torrent says, so a
  file with more bytes than that is a fault as well.
- Pieces are counted from 0, as clients count them.
"""

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

from fleet.cli.text import clean, size
from workers.regions import Content

FEW = 3  # files that are named beside a run of pieces


@dataclass(frozen=True)
class Fault:
    """A file that is not on disk as the torrent has it; sizes are in bytes.

    ``unusable`` is something that is in the file's place: a link, a folder, a file nobody may read.
    """

    kind: Literal["missing", "short", "long", "unusable"]
    path: str
    size: int
    found: int = 0
    reason: str = ""

    @property
    def words(self) -> str:
        """Say what is wrong with it."""
        if self.kind == "short":
            return f"{self.found:,} of {self.size:,} bytes are there"
        if self.kind == "long":
            return f"{self.found - self.size:,} bytes more than {self.size:,}"
        return self.reason or f"all {self.size:,} bytes of it"


@dataclass(frozen=True)
class Findings:
    """A verification that is over.

    Attributes:
        name: the torrent's name.
        infohash: the v1 infohash, in lowercase hex.
        content: the torrent's files and pieces; padding has no path.
        bad: runs of pieces that are wrong or not all there.
        faults: files that are not as the torrent has them.
    """

    name: str
    infohash: str
    content: Content
    bad: Sequence[range]
    faults: Sequence[Fault]

    @property
    def whole(self) -> bool:
        """Whether everything is there, right, and nothing else in its place."""
        return not self.bad and not self.faults

    @property
    def good(self) -> int:
        """How many pieces are good."""
        return self.content.pieces - sum(len(run) for run in self.bad)

    def touched(self, run: range) -> list[str]:
        """Name the files that hold a run of pieces."""
        paths = (self.content.parts[span.file].path for span in self.content.spans(run))
        return [path for path in paths if path is not None]


def runs(pieces: Iterable[int]) -> list[range]:
    """Join pieces, in ascending order, to runs of neighbours."""
    found: list[range] = []
    for piece in pieces:
        if found and found[-1].stop == piece:
            found[-1] = range(found[-1].start, piece + 1)
        else:
            found.append(range(piece, piece + 1))
    return found


def as_json(findings: Findings) -> dict[str, Any]:
    """Say it for a program; the last piece of a run belongs to it."""
    return {
        "whole": findings.whole,
        "name": findings.name,
        "infohash": findings.infohash,
        "size": findings.content.size,
        "piece_length": findings.content.length,
        "pieces": findings.content.pieces,
        "good": findings.good,
        "bad": [
            {"first": run.start, "last": run.stop - 1, "files": findings.touched(run)}
            for run in findings.bad
        ],
        "faults": [
            {
                "fault": fault.kind,
                "path": fault.path,
                "size": fault.size,
                "found": fault.found,
                "reason": fault.words,
            }
            for fault in findings.faults
        ],
    }


def show(findings: Findings) -> None:
    """Print what is bad, one a row, and what it comes to."""
    if not findings.whole:
        table = Table("fault", "where", "what", box=None, pad_edge=False, header_style="bold")
        for fault in findings.faults:
            table.add_row(Text(fault.kind, "red"), _text(fault.path), _text(fault.words))
        for run in findings.bad:
            table.add_row(Text("bad", "red"), _numbers(run), _files(findings.touched(run)))
        Console().print(table)
    pieces = f"{findings.good:,} of {findings.content.pieces:,} pieces are good"
    verdict = "whole" if findings.whole else "not whole"
    told = f"{findings.name} is {verdict}: {pieces}, {size(findings.content.size)} in all"
    sys.stdout.write(clean(told) + "\n")


def _numbers(run: range) -> str:
    if len(run) == 1:
        return f"piece {run.start}"
    return f"pieces {run.start} to {run.stop - 1}"


def _files(paths: Sequence[str]) -> Text:
    more = f" and {len(paths) - FEW:,} more" if len(paths) > FEW else ""
    return _text(", ".join(paths[:FEW]) + more)


def _text(text: str) -> Text:
    return Text(clean(text), overflow="fold")
