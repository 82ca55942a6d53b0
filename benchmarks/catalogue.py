"""The catalogue of 100,000 versions: how long it takes, beside other writers, and in what memory.

Datasets of ten versions each are put into an edition and written whole, a page for each version and
three tables, by a process of its own; then one of them changes and all is written again.  A second
process writes the same into another folder, and the bytes must be the same.  The table is read
back, and each Item must be exactly what it was made of.  20,000 of the Items are given as they are
to stac-geoparquet and to rustac beside Fleet's writer, turn by turn: one table each, compressed
alike.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from benchmarks.cataloguer import Report
from benchmarks.contest import Contest, missed, options, show
from benchmarks.engine import HOME
from benchmarks.ground import DISK, MIB, ground, say, scratch
from fleet.catalogue import columns, table
from fleet.catalogue.rows import to_items, to_rows
from tests.catalogue_support import SITES, Json, items_of, sample

try:
    import rustac
    from stac_geoparquet.arrow import parse_stac_items_to_arrow, to_parquet
except ModuleNotFoundError as error:
    sys.exit(f"{error.name} is missing; `make dev` installs it")

ITEMS = 100_000
MANY = 1_000_000
VERSIONS = 10
CONTESTED = 20_000
ROUNDS = 3
AT_ONCE = 1_000
ROOM = 3 * 1024 * MIB  # of two editions with their pages
WANTED = {
    "vs_best_writer": (">=", 3.0),
    "rss_mb": ("<=", 1000.0),
    "roundtrip_equal": (">=", 1.0),
    "bytes_identical": (">=", 1.0),
    "changed_share": ("<=", 0.25),
}
WANTED_OF_MANY = {"rss_mb_of_many": ("<=", 1500.0)}


def written(folder: Path, items: int) -> Report:
    """Let a process of its own write so many Items."""
    command = [sys.executable, "-m", "benchmarks.cataloguer", str(folder)]
    command += [str(items // VERSIONS), str(VERSIONS)]
    done = subprocess.run(command, cwd=HOME, check=True, stdout=subprocess.PIPE, text=True)
    return Report(**json.loads(done.stdout))


def all_items(items: int) -> Iterator[Json]:
    """Make the Items anew, in the order of the catalogue."""
    names = sorted((sample(number, 0).id, number) for number in range(items // VERSIONS))
    return chain.from_iterable(items_of(sample(number, VERSIONS)) for _, number in names)


def equal(path: Path, items: Iterable[Json]) -> bool:
    """Whether a table holds exactly these Items."""
    batches = pq.ParquetFile(path).iter_batches(AT_ONCE)
    read = chain.from_iterable(map(to_items, batches))
    ended = object()
    return all(next(read, ended) == one for one in items) and next(read, ended) is ended


def contest(folder: Path, items: list[Json], rounds: int) -> Contest:
    """Let all writers write the same Items."""
    held = Contest(folder)
    for name, write in (("fleet", ours), ("stac-geoparquet", theirs), ("rustac", rusts)):
        held.add(name, _timed(write, items))
    held.hold(rounds)
    return held


def ours(path: Path, items: list[Json]) -> None:
    """Write them as the catalogue is written."""
    own, given = columns.schema(SITES), iter(items)
    rows = (to_rows(some, own) for some in iter(lambda: list(islice(given, AT_ONCE)), []))
    with path.open("wb") as file:
        table.write_items([(file, None)], rows, own, None)


def theirs(path: Path, items: list[Json]) -> None:
    """Write them with stac-geoparquet."""
    to_parquet(parse_stac_items_to_arrow(items), path, compression="zstd")


def rusts(path: Path, items: list[Json]) -> None:
    """Write them with rustac."""
    rustac.write_sync(str(path), items, format="geoparquet", parquet_compression="zstd(3)")


def _timed(write: Callable[[Path, list[Json]], None], items: list[Json]) -> Callable[[Path], float]:
    def run(folder: Path) -> float:
        started = time.perf_counter()
        write(folder / "items.parquet", items)
        return time.perf_counter() - started

    return run


def measure(folder: Path, items: int, rounds: int) -> dict[str, Any]:
    """Write, write again elsewhere, read back, and let the writers contend."""
    say(f"{items:,} Items are written, and once more elsewhere")
    first, second = written(folder / "first", items), written(folder / "second", items)
    say("the Items are read back")
    table_of_all = folder / "first" / "public" / "catalogue.parquet"
    result: dict[str, Any] = {
        "items": items,
        "write_seconds": round(first.seconds, 2),
        "write_processor_seconds": round(first.processor_seconds, 2),
        "changed_seconds": round(first.changed_seconds, 2),
        "changed_share": round(first.changed_processor_seconds / first.processor_seconds, 3),
        "rss_mb": round(max(first.peak_memory_mb, second.peak_memory_mb)),
        "bytes_per_item": round(first.bytes / items),
        "bytes_identical": first.taken_back and first.digests == second.digests,
        "roundtrip_equal": equal(table_of_all, all_items(items)),
    }
    contested = list(islice(all_items(items), CONTESTED))
    say(f"{len(contested):,} of them are written by all")
    held = contest(folder / "contest", contested, rounds)
    best = min(held.median("stac-geoparquet"), held.median("rustac"))
    return {
        **result,
        "contested_items": len(contested),
        "vs_best_writer": round(best / held.median("fleet"), 2),
        "contest_seconds": held.medians,
    }


def main() -> None:
    """Measure, and print what was found."""
    full = f"write {MANY:,} Items too, and look at the memory"
    given = options(__doc__, f"Items ({ITEMS})", full=full).parse_args()
    wanted = WANTED | (WANTED_OF_MANY if given.full else {})
    with ground(ROOM) as folder:
        result = measure(folder, given.size or ITEMS, given.rounds or ROUNDS)
    if given.full:
        say(f"{MANY:,} Items are written, to a disk")  # memory has no room for so many pages
        with scratch(DISK) as folder:
            many = written(folder / "many", MANY)
        result["rss_mb_of_many"] = round(many.peak_memory_mb)
        result["write_seconds_of_many"] = round(many.seconds, 1)
    show({**result, "missed": missed(result, wanted)}, wanted, as_json=given.json)


if __name__ == "__main__":
    main()
