"""What became of a download: for a person, and for a program."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fleet.catalogue.client.offer import File, Offer
from fleet.cli.get.lies import Lie
from fleet.cli.text import clean, duration, size
from fleet.messages import ItemResult, SourceReport

FEW = 20
"""Lines that are told of each kind to a person; a program is told all."""


@dataclass(frozen=True)
class Ending:
    """A download that is over.

    Attributes:
        folder: where the files are, as it was given.
        lies: what mirrors sent wrong bytes of.
        untold: why the centre could not be told of that, or empty.
        replaced: paths of files that were there before, were wrong, and are kept in quarantine.
    """

    offer: Offer
    files: Sequence[File]
    results: Mapping[str, ItemResult]
    sources: Sequence[SourceReport]
    lies: Sequence[Lie]
    untold: str
    folder: Path
    fetched: int
    seconds: float
    replaced: Sequence[str] = field(default=())

    @property
    def done(self) -> int:
        """How many files are there."""
        return sum(self.results[file.path].ok for file in self.files)

    @property
    def rate(self) -> float:
        """Bytes per second that came."""
        return self.fetched / self.seconds if self.seconds > 0 else 0.0


def as_json(ending: Ending) -> dict[str, Any]:
    """Say it for a program."""
    return {
        "dataset": ending.offer.dataset,
        "version": ending.offer.label,
        "superseded": ending.offer.superseded,
        "folder": str(ending.folder),
        "complete": ending.done == len(ending.files),
        "files": [_file(file, ending.results[file.path]) for file in ending.files],
        "sources": [source.model_dump() for source in ending.sources],
        "corrupt": [
            {"site": one.site, "url": one.url, "path": one.path, "wrong": one.wrong}
            for one in ending.lies
        ],
        "reported": bool(ending.lies) and not ending.untold,
        "quarantined": list(ending.replaced),
        "bytes": ending.fetched,
        "seconds": round(ending.seconds, 3),
        "rate": round(ending.rate),
    }


def summary(ending: Ending) -> list[str]:
    """Say what is there now, in lines."""
    many = len(ending.files)
    there = sum(file.size for file in ending.files if ending.results[file.path].ok)
    counted = f"{ending.done} of {many} files" if many > 1 else ending.files[0].path
    lines = [f"{ending.offer.name}: {counted} in {ending.folder}, {size(there)}, every byte proved"]
    if not ending.done:
        return []
    if ending.fetched:
        took = ending.seconds
        told = f"{took:.1f} s" if took < 10 else duration(took)
        lines.append(f"{size(ending.fetched)} came in {told}, {size(round(ending.rate))}/s")
    else:
        lines.append("it was there already; nothing had to be fetched")
    lines += [_source(one) for one in ending.sources if one.bytes or one.errors]
    return [clean(line) for line in lines]


def troubles(ending: Ending) -> list[str]:
    """Say what went wrong, and who lied, one line for each."""
    failed = [
        f"{file.path}: {ending.results[file.path].reason}"
        for file in ending.files
        if not ending.results[file.path].ok
    ]
    lies = [f"{one.site} sent wrong bytes of {one.url}: {one.wrong}" for one in ending.lies]
    kept = [
        f"the {ending.folder / path} that was there did not match; "
        f"it is kept in {ending.folder / '.quarantine'}"
        for path in ending.replaced
    ]
    lines = [line for some in (failed, lies, kept) for line in _few(some)]
    if ending.lies:
        told = ending.untold and f"the centre could not be told of that: {ending.untold}"
        lines.append(told or "the centre was told of that, and has it checked")
    if ending.offer.superseded:
        lines.append(f"{ending.offer.name} is not the latest version of {ending.offer.dataset}")
    return [clean(line) for line in lines]


def _file(file: File, result: ItemResult) -> dict[str, Any]:
    return {
        "path": file.path,
        "ok": result.ok,
        "size": file.size,
        "sha256": file.sha256,
        "source": result.source,
        "reason": result.reason if not result.ok else "",
    }


def _few(lines: Sequence[str]) -> list[str]:
    more = len(lines) - FEW
    return [*lines[:FEW], *([f"and {more} more, which --json tells of"] if more > 0 else [])]


def _source(source: SourceReport) -> str:
    name = f"{source.site} ({source.host})" if source.site else source.host
    line = f"  {size(source.bytes)} from {name}"
    if source.evidence:
        return f"{line}; it sent wrong bytes"
    if source.errors:
        count = "1 fault" if source.errors == 1 else f"{source.errors} faults, the last"
        return f"{line}; {count}: {source.last_error.removeprefix(f'{source.host}: ')}"
    return line
