"""What became of a pull: for a person, who may want to note the digests, and for a program."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fleet.cli.pull.wishes import Wish
from fleet.cli.text import clean, duration, size
from fleet.messages import ItemResult, SourceReport
from workers.work import Work


@dataclass(frozen=True)
class Ending:
    """A pull that is over.

    Attributes:
        folder: where the files are, as it was given.
        seconds: how long it took.
        replaced: names of files that were there before, were wrong, and are kept in quarantine.
    """

    wishes: Sequence[Wish]
    work: Work
    folder: Path
    seconds: float
    replaced: frozenset[str] = frozenset()

    @property
    def complete(self) -> bool:
        """Whether every file is there."""
        return all(result.ok for result in self.work.items)

    @property
    def rate(self) -> float:
        """Bytes per second that came."""
        return self.work.bytes_fetched / self.seconds if self.seconds > 0 else 0.0


def as_json(ending: Ending) -> dict[str, Any]:
    """Say it for a program."""
    return {
        "files": [
            {
                "path": str(ending.folder / wish.name),
                "ok": result.ok,
                "size": result.size,
                "sha256": result.sha256,
                "md5": result.md5,
                "checked": result.ok and wish.sha256 is not None,
                "source": result.source,
                "reason": result.reason,
            }
            for wish, result in zip(ending.wishes, ending.work.items, strict=True)
        ],
        "sources": [source.model_dump(exclude={"site"}) for source in ending.work.sources],
        "bytes": ending.work.bytes_fetched,
        "seconds": round(ending.seconds, 3),
        "rate": round(ending.rate),
    }


def summary(ending: Ending) -> list[str]:
    """Say what is there now, in lines."""
    pairs = list(zip(ending.wishes, ending.work.items, strict=True))
    lines = [text for wish, result in pairs if result.ok for text in _file(ending, wish, result)]
    if not lines:
        return []
    done = sum(result.ok for _, result in pairs)
    counted = f"{done} of {len(pairs)} files: " if len(pairs) > 1 else ""
    if ending.work.bytes_fetched:
        took = f"{ending.seconds:.1f} s" if ending.seconds < 10 else duration(ending.seconds)
        came = f"{size(ending.work.bytes_fetched)} came in {took}, {size(round(ending.rate))}/s"
    else:
        came = "nothing had to be fetched"
    lines.append(counted + came)
    sources = ending.work.sources
    if len(sources) > 1 or any(source.errors for source in sources):
        lines += [_source(source) for source in sources]
    return [clean(text) for text in lines]


def troubles(ending: Ending) -> list[str]:
    """Say what went wrong, and who lied, one line for each."""
    lines = [
        f"{wish.name}: {result.reason}"
        for wish, result in zip(ending.wishes, ending.work.items, strict=True)
        if not result.ok
    ]
    lines += [
        f"{source.host} sent wrong bytes: {source.evidence}"
        for source in ending.work.sources
        if source.evidence
    ]
    lines += [
        f"the {ending.folder / name} that was there did not match its --sha256; "
        f"it is kept in {ending.folder / '.quarantine'}"
        for name in sorted(ending.replaced)
    ]
    return [clean(text) for text in lines]


def _file(ending: Ending, wish: Wish, result: ItemResult) -> list[str]:
    checked = "checked against --sha256" if wish.sha256 else "not checked: no digest was given"
    before = "it was there already; " if result.source is None else ""
    return [
        f"{ending.folder / wish.name}  {size(result.size or 0)}",
        f"  sha256 {result.sha256}",
        f"  {before}{checked}",
    ]


def _source(source: SourceReport) -> str:
    faults = "; it sent wrong bytes" if source.evidence else ""
    if source.errors and not source.evidence:
        count = "1 fault" if source.errors == 1 else f"{source.errors} faults, the last"
        faults = f"; {count}: {source.last_error.removeprefix(f'{source.host}: ')}"
    return f"  {size(source.bytes)} from {source.host}{faults}"
