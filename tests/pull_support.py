"""What the tests of the pull, verify and probe share: one site, its orders and its tree."""

import hashlib
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fleet.messages import Budget, Item, ItemResult, Order, Source
from fleet.settings import SiteSettings
from workers.lease import Lease
from workers.pull import pull
from workers.storage.posix import PosixStorage
from workers.work import Work

FOLDER = "census/v1"


def noise(size: int, seed: int = 1) -> bytes:
    """Bytes that no digest mistakes for others."""
    return random.Random(seed).randbytes(size)


def until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    """Wait for a condition, not for a time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)


def item(path: str, *urls: str, body: bytes | None = None, **known: Any) -> Item:
    """An item with these sources; with ``body``, its sha256 is known."""
    if body is not None:
        known = {"size": len(body), "sha256": hashlib.sha256(body).hexdigest(), **known}
    sources = tuple(Source(url=url) for url in urls)
    known = {"artifact": path.replace("/", "-"), "sources": sources, **known}
    return Item(path=path, **known)


def order(*items: Item, **fields: Any) -> Order:
    """An order for these items."""
    return Order(
        **{
            "attempt": "a1",
            "fence": 1,
            "task": "pull",
            "site": "toronto",
            "lease_seconds": 60.0,
            "folder": FOLDER,
            "items": items,
            "max_bytes": 1 << 40,
            "budget": Budget(),
            **fields,
        }
    )


@dataclass
class Site:
    """One site: its settings and its tree."""

    home: Path

    @property
    def root(self) -> Path:
        return self.home / "data"

    @property
    def storage(self) -> PosixStorage:
        return PosixStorage(self.root)

    def settings(self, **fields: Any) -> SiteSettings:
        return SiteSettings(
            **{
                "site": "toronto",
                "site_token": "toronto-secret",
                "home": self.home,
                "root": self.root,
                "allow_networks": "127.0.0.0/8, ::1/128",
                "stall_seconds": 5.0,
                **fields,
            }
        )

    def pull(
        self, given: Order, lease: Lease | None = None, known: bytes = b"", **settings: Any
    ) -> Work:
        lease = lease or Lease(given.budget)
        chosen = self.settings(**settings)
        return pull(given, self.storage, lease, settings=chosen, known=known)

    def pull_one(self, one: Item, **settings: Any) -> ItemResult:
        """Pull one item and give its result."""
        (found,) = self.pull(order(one), **settings).items
        return found

    def file(self, path: str) -> Path:
        return self.root / FOLDER / path

    def put(self, path: str, body: bytes) -> Path:
        """Lay a file into the tree by hand."""
        self.file(path).parent.mkdir(parents=True, exist_ok=True)
        self.file(path).write_bytes(body)
        return self.file(path)

    def visible(self) -> list[str]:
        """All files that anyone could be offered."""
        return self._files(lambda path: not path.startswith("."))

    def staged(self) -> list[str]:
        return self._files(lambda path: path.startswith(".staging/"))

    def quarantined(self) -> list[str]:
        return self._files(lambda path: path.startswith(".quarantine/"))

    def _files(self, wanted: Callable[[str], bool]) -> list[str]:
        names = (
            str(path.relative_to(self.root)) for path in self.root.rglob("*") if path.is_file()
        )
        return sorted(name for name in names if wanted(name))


def v1_pieces(body: bytes, length: int) -> bytes:
    """The piece hashes of BEP 3, the plain way."""
    return b"".join(
        hashlib.sha1(body[at : at + length]).digest() for at in range(0, len(body), length)
    )


def reasons(results: Sequence[ItemResult]) -> list[str]:
    return [result.reason for result in results if not result.ok]
