"""What the items of one attempt share."""

from dataclasses import dataclass, field
from pathlib import Path

from fleet.messages import Item, Order
from fleet.settings import SiteSettings
from workers.lease import Lease
from workers.pull.pace import Pace
from workers.pull.tally import Tallies
from workers.pull.web import Web
from workers.storage.posix import PosixStorage


@dataclass
class Run:
    """One attempt under way.

    Attributes:
        owners: which item a final path belongs to; a second one that claims it is refused.
        published: final paths whose names are not durable yet.
        blobs: the items' piece hashes, by their sha256.
        pieces: the piece hashes of a shard of one item, found in passing.
    """

    order: Order
    storage: PosixStorage
    lease: Lease
    settings: SiteSettings
    web: Web
    pace: Pace
    tallies: Tallies = field(default_factory=Tallies)
    owners: dict[Path, Item] = field(default_factory=dict)
    published: dict[str, Path] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    pieces: bytes | None = None
