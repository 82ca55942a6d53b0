"""The process that writes a catalogue when a benchmark measures it.

``python -m benchmarks.cataloguer FOLDER DATASETS VERSIONS`` puts so many datasets into an edition
below FOLDER, writes it, changes one of them, writes it again, takes that back, and prints one
``Report``.  It is a process of its own, so that its memory is the writer's alone; what is written
is made as it is asked for, in time that does not count.
"""

import hashlib
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from benchmarks.child import peak_memory
from fleet.catalogue.edition import Edition
from fleet.catalogue.entry import Dataset
from tests.catalogue_support import BASE, SITES, sample


@dataclass(frozen=True)
class Report:
    """What came of it.

    Attributes:
        seconds: to put all and to write it.
        processor_seconds: of that, what this process used of a processor.
        changed_seconds: to put one changed dataset and to write all again.
        changed_processor_seconds: likewise.
        peak_memory_mb: most memory that the process has held.
        bytes: of the table of all.
        digests: of the tables as they were written first.
        taken_back: whether they were the same once the change was taken back.
    """

    seconds: float
    processor_seconds: float
    changed_seconds: float
    changed_processor_seconds: float
    peak_memory_mb: float
    bytes: int
    digests: dict[str, str]
    taken_back: bool


class _Clock:
    """Counts seconds, of this process's processor too, but not those of a pause."""

    def __init__(self) -> None:
        self.seconds, self.processor = -time.perf_counter(), -time.process_time()

    def pause(self) -> None:
        self.seconds += time.perf_counter()
        self.processor += time.process_time()

    def go_on(self) -> None:
        self.seconds -= time.perf_counter()
        self.processor -= time.process_time()


def main() -> None:
    """Write, change, write again, and say how it went."""
    folder, datasets, versions = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    names = sorted((sample(number, 0).id, number) for number in range(datasets))
    edition = Edition(folder / "public", folder / "memory", BASE, SITES)

    def made() -> Iterator[tuple[str, Dataset]]:
        for name, number in names:
            full.pause()
            dataset = sample(number, versions)
            full.go_on()
            yield name, dataset

    full = _Clock()
    edition.put(made())
    edition.write()
    full.pause()
    digests = _digests(folder / "public")
    name, number = names[len(names) // 2]
    dataset = sample(number, versions)
    changed = replace(dataset, entries=dataset.entries[:-1])
    part = _Clock()
    edition.put([(name, changed)])
    edition.write()
    part.pause()
    edition.put([(name, dataset)])
    edition.write()
    table = folder / "public" / "catalogue.parquet"
    report = Report(
        seconds=full.seconds,
        processor_seconds=full.processor,
        changed_seconds=part.seconds,
        changed_processor_seconds=part.processor,
        peak_memory_mb=peak_memory() / 1e6,
        bytes=table.stat().st_size,
        digests=digests,
        taken_back=_digests(folder / "public") == digests,
    )
    print(json.dumps(asdict(report)))


def _digests(folder: Path) -> dict[str, str]:
    tables = sorted(folder.glob("*.*"))
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in tables}


if __name__ == "__main__":
    main()
