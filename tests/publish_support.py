"""Versions to be published at the rehearsed Zenodo, and what is remembered of it."""

import hashlib
import io
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, BinaryIO

from fleet.invenio import Calls, Patience, Published, Wanted
from fleet.rehearsal.zenodo import TOKEN, Zenodo
from fleet.rehearsal.zenodo.state import Record
from fleet.repositories import Creator, Deposit, Description, Licence, Memory, Publisher, Text, urn
from tests.zenodo_support import md5

AGENT = "Fleet/test (+mailto:ops@example.org)"
FILES = {"a.csv": b"id,name\n1,Ottawa\n", "maps/b c.csv": b"id\n" * 50_000}
DESCRIBED = Description(
    titles=(Text("en", "Buildings of Canada"), Text("fr", "Bâtiments du Canada")),
    summaries=(Text("en", "All of <them>.\n\nNow."), Text("fr", "Tous.")),
    creators=(Creator("Data for Canada"), Creator("Tremblay", "Zoé", affiliation="UQAM")),
    published=date(2026, 11, 28),
    label="2026-11",
    licence=Licence("CC-BY-4.0"),
    publisher="Data for Canada",
    mirrors=("https://data.example.org/buildings/2026-11/",),
)


def wanted(files: Mapping[str, bytes]) -> tuple[Wanted, ...]:
    return tuple(Wanted(key, len(data), md5(data)) for key, data in files.items())


def deposit(version: str = "one", files: Mapping[str, bytes] = FILES, **changes: Any) -> Deposit:
    return replace(Deposit(urn(version), DESCRIBED, wanted(files)), **changes)


@dataclass
class Clock:
    """A clock that stands still but when somebody waits."""

    time: float = 1_800_000_000.0
    waits: list[float] = field(default_factory=list)

    def now(self) -> float:
        return self.time

    def moment(self) -> datetime:
        return datetime.fromtimestamp(self.time, UTC)

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.time += seconds


@dataclass
class Office:
    """A centre that publishes: its memory is what outlives a run."""

    zenodo: Zenodo
    clock: Clock
    memory: Memory = field(default_factory=Memory)
    told: list[Memory] = field(default_factory=list)
    read: list[str] = field(default_factory=list)

    def remember(self, memory: Memory) -> None:
        self.told.append(memory)
        self.memory = memory

    @contextmanager
    def publisher(self, patience: float = 4000.0) -> Iterator[Publisher]:
        wait = Patience(patience, self.clock.now, self.clock.sleep)
        with Calls(self.zenodo.url, AGENT, TOKEN, wait, timeout=5) as calls:
            yield Publisher(calls, self.remember)

    def publish(
        self, version: Deposit, files: Mapping[str, bytes] = FILES, patience: float = 4000.0
    ) -> Published:
        def opened(one: Wanted) -> BinaryIO:
            self.read.append(one.key)
            return io.BytesIO(files[one.key])

        with self.publisher(patience) as publisher:
            return publisher.publish(version, self.memory, opened)

    def forgetful(self) -> "Office":
        """Give the centre after its memory was lost."""
        return Office(self.zenodo, self.clock)


def bearing(zenodo: Zenodo, version: str) -> list[Record]:
    """Give the records and drafts that bear a version's URN."""
    name = {"identifier": urn(version), "scheme": "urn"}
    return [
        one
        for one in zenodo.records.records.values()
        if name in one.metadata.get("identifiers", [])
    ]


def bytes_of(record: Record) -> dict[str, bytes]:
    """Give what a record holds."""
    return {
        key: b"".join(piece.read() for piece in file.content.pieces) if file.content else b""
        for key, file in record.files.items()
    }


class Notebook:
    """A memory on disk, which is whole or as it was before."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> Memory:
        return Memory(**json.loads(self._path.read_text())) if self._path.exists() else Memory()

    def __call__(self, memory: Memory) -> None:
        fresh = self._path.with_suffix(".new")
        fresh.write_text(json.dumps(asdict(memory)))
        fresh.replace(self._path)


def sha256(files: Mapping[str, bytes]) -> dict[str, str]:
    return {key: hashlib.sha256(data).hexdigest() for key, data in files.items()}
