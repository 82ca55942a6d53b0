"""Sites that have a seeder each, and the orders that move shards between them."""

import contextlib
import hashlib
import json
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

from fleet.messages import Budget, Item, Order, Source
from fleet.settings import SiteSettings
from tests.seeder_support import TOKEN, Centre, Process, Shard, running
from workers.lease import Lease
from workers.mend import mend
from workers.pull import pull
from workers.seeder.control import socket_path
from workers.storage.posix import PosixStorage
from workers.verify import verify
from workers.work import Work

NOWHERE = ""  # where a site listens that cannot be dialled


@dataclass
class Node:
    """One site: its tree, its seeder and the centre that this one hears."""

    name: str
    settings: SiteSettings
    told: Centre
    seeder: Process
    more: dict[str, str] = field(default_factory=dict)

    @property
    def root(self) -> Path:
        return self.settings.store_root

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.seeder.ready()['bittorrent']}"

    def hold(self, shard: Shard, *peers: str) -> None:
        """Hold a shard and seed it, dialling these peers."""
        shard.put(self.root)
        self.seed(shard, *peers)

    def seed(self, shard: Shard, *peers: str) -> None:
        self.know(shard)
        self.told.seeds = [shard.seed(peers=peers)]
        assert self.seeder.sync() == {"ok": True, "seeding": 1}

    def know(self, shard: Shard) -> None:
        """Let the centre have its torrent."""
        self.told.torrents[shard.infohash] = shard.torrent

    def pull(self, given: Order, lease: Lease | None = None) -> Work:
        lease = lease or Lease(given.budget)
        return pull(given, PosixStorage(self.root), lease, settings=self.settings)

    def verify(self, given: Order, lease: Lease | None = None) -> Work:
        lease = lease or Lease(given.budget)

        def mends(items: Any) -> Any:
            return mend(self.settings, lease, items)

        return verify(given, PosixStorage(self.root), lease, mends)

    def staged(self) -> list[str]:
        return self.files(".staging")

    def visible(self) -> list[str]:
        return sorted(path for path in self.files("") if not path.startswith("."))

    def files(self, below: str) -> list[str]:
        folder = self.root / below
        return sorted(str(one.relative_to(folder)) for one in folder.rglob("*") if one.is_file())


@contextlib.contextmanager
def node(home: Path, name: str, **more: Any) -> Iterator[Node]:
    """A site whose seeder runs; ``more`` are settings."""
    fields = {"allow_networks": "127.0.0.0/8", "stall_seconds": 5.0, **more}
    settings = SiteSettings(home=home, site=name, site_token=TOKEN, **fields)
    env = {f"FLEET_{key.upper()}": str(value) for key, value in fields.items()}
    told = Centre()
    try:
        with running(settings, told.url, **env) as seeder:
            yield Node(name, settings, told, seeder, env)
    finally:
        told.close()


def magnet(shard: Shard, *peers: str, web_seeds: tuple[str, ...] = ()) -> str:
    seeds = "".join(f"&ws={quote(one, safe='')}" for one in web_seeds)
    told = "".join(f"&x.pe={one}" for one in peers)
    return f"magnet:?xt=urn:btih:{shard.infohash}&dn=x{seeds}{told}"


def ordered(
    shard: Shard,
    *peers: str,
    after: tuple[str, ...] = (),
    web_seeds: tuple[str, ...] = (),
    **fields: Any,
) -> Order:
    """An order for a shard whose torrent comes first, before the HTTP sources ``after``."""
    torrent = Source(kind="torrent", url=magnet(shard, *peers, web_seeds=web_seeds))
    items, at = [], 0
    for path, data in shard.files.items():
        http = tuple(Source(url=f"{base}/{shard.dataset}/v1/{path}") for base in after)
        sha256 = hashlib.sha256(data).hexdigest()
        items.append(
            Item(
                artifact=f"{shard.dataset}-{len(items)}",
                path=path,
                size=len(data),
                sha256=sha256,
                offset=at,
                sources=(torrent, *http),
            )
        )
        at += len(data)
    about = {
        "attempt": "a1",
        "fence": 1,
        "task": "pull",
        "site": "here",
        "lease_seconds": 60.0,
        "folder": f"{shard.dataset}/v1",
        "shard": f"shard-of-{shard.dataset}",
        "max_bytes": 1 << 40,
        "budget": Budget(),
    }
    return Order(**{**about, "items": tuple(items), **fields})


def last_resort(given: Order) -> Order:
    """The same order, with the torrent ranked last."""
    items = (
        item.model_copy(update={"sources": (*item.sources[1:], item.sources[0])})
        for item in given.items
    )
    return given.model_copy(update={"items": tuple(items)})


class Talk:
    """A connection to a seeder's control socket, spoken to by hand."""

    def __init__(self, settings: SiteSettings) -> None:
        self._link = socket.socket(socket.AF_UNIX)
        self._link.settimeout(20)
        self._link.connect(str(socket_path(settings)))
        self._lines = self._link.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._lines.close()
        self._link.close()

    def say(self, said: object) -> None:
        self.send(json.dumps(said).encode() + b"\n")

    def send(self, raw: bytes) -> None:
        self._link.sendall(raw)

    def hear(self) -> dict[str, Any]:
        """The next answer; empty once the seeder has closed."""
        line = self._lines.readline()
        answer: dict[str, Any] = json.loads(line) if line else {}
        return answer

    def until(self, **fields: Any) -> dict[str, Any]:
        """Wait for an answer with these fields."""
        while answer := self.hear():
            if all(answer.get(key) == value for key, value in fields.items()):
                return answer
        raise AssertionError(f"it ended without {fields}")
