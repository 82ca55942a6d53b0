"""A centre whose catalogue is written when that is due, and those who read it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from sqlmodel import col, select

from fleet import wakeups
from fleet.catalogue.signing import rotation
from fleet.control import catalogue, printing
from fleet.control.mirror import mirror_dataset
from fleet.control.rules import RuleSpec
from fleet.planning.press import DATASET
from fleet.store import untold
from fleet.store.database import Store
from fleet.store.tables import Shard, Version, Wakeup
from tests.centre_support import Centre


@dataclass
class Printer:
    """The consumer's part: it does what it is woken for."""

    centre: Centre

    def __post_init__(self) -> None:
        self.centre.settings = self.centre.settings.model_copy(
            update={"home": self.centre.folder / "home"}
        )

    @property
    def store(self) -> Store:
        return self.centre.store

    @property
    def place(self) -> Path:
        return self.centre.settings.catalogue

    def make_keys(self) -> rotation.Rooted:
        settings = self.centre.settings
        with self.store.read() as session:
            now = self.store.now(session)
        root = self.centre.folder / "root.pem"
        return rotation.init(settings.catalogue, settings.catalogue_keys, [root], 1, now)

    def mirror(self, dataset: str, *paths: str, rule: RuleSpec | None = None) -> str:
        """Have a dataset of these files mirrored to the end; return its version."""
        listing = self.centre.folder / f"{dataset}.txt"
        listing.write_text("".join(f"https://origin.example/{path}\n" for path in paths))
        made = mirror_dataset(self.store, str(listing), rule or RuleSpec(), dataset=dataset)
        self.centre.work()
        return made.version

    def woken(self) -> int:
        """How often the consumer was woken so far."""
        with self.store.read() as session:
            return len(session.exec(select(Wakeup.id).where(Wakeup.task == wakeups.PRESS)).all())

    def issue(self) -> str:
        return printing.issue(self.store, self.centre.settings)

    def pass_time(self, seconds: float, step: float = 30) -> int:
        """Let time pass, tick by tick, with all that is to be done in it; count the issues."""
        issues, passed = 0, 0.0
        while passed < seconds:
            passed += step
            self.centre.advance(step)
            before = self.woken()
            self.centre.work()
            if self.woken() > before:
                self.issue()
                issues += 1
        return issues

    def settle(self) -> None:
        """Have all that is known told, signed and mirrored."""
        for seconds, step in ((180, 60), (7200, 1800), (180, 60)):
            self.pass_time(seconds, step)

    def untold(self) -> list[str]:
        """What was noted of datasets and is not told, from the next tick on."""
        self.centre.advance(6)
        self.centre.tick()
        with self.store.read() as session:
            return [row.dataset for row in untold.rows(session)]

    def editions(self) -> list[Version]:
        """The versions that signed states became, the oldest first."""
        with self.store.read() as session:
            rows = session.exec(
                select(Version).where(Version.dataset_id == DATASET).order_by(col(Version.id))
            )
            return list(rows.all())

    def shards(self, version: str) -> list[str]:
        with self.store.read() as session:
            return list(session.exec(select(Shard.id).where(Shard.version_id == version)).all())

    def table(self) -> dict[str, dict[str, Any]]:
        """The rows of the table of all versions, by dataset and label."""
        rows = pq.read_table(self.place / "catalogue.parquet").to_pylist()
        return {row["id"]: row for row in rows}

    def titles(self) -> list[str]:
        """The datasets that the tables tell of."""
        return sorted({row["collection"] for row in self.table().values()})

    def page(self, *parts: str) -> Any:
        return json.loads(self.place.joinpath(*parts).read_bytes())


@contextmanager
def read_anew() -> Iterator[list[str]]:
    """Take down which datasets are read from the store for an edition."""
    seen: list[str] = []
    known = catalogue.dataset

    def noting(session: Any, settings: Any, name: str) -> Any:
        seen.append(name)
        return known(session, settings, name)

    catalogue.dataset = noting
    try:
        yield seen
    finally:
        catalogue.dataset = known
