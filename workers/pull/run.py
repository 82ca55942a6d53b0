"""What the items of one attempt share."""

import threading
from dataclasses import dataclass, field

from fleet.messages import Item, Order
from fleet.settings import SiteSettings
from workers.lease import Lease
from workers.pull.faults import Local
from workers.pull.landing import Landing
from workers.pull.load import Load
from workers.pull.pace import Pace
from workers.pull.tally import Tallies
from workers.pull.watch import Watch
from workers.pull.web import Web
from workers.storage.posix import PosixStorage


@dataclass
class Run:
    """One attempt under way.

    Attributes:
        known: the piece hashes of the shard's one item, if they are known.
        changed: held by whoever reads or changes the state of an item; notified when it changed.
        owners: the first item of the order that names a path; a second one is refused.
        blobs: the items' piece hashes, by their sha256.
        pieces: the piece hashes of a shard of one item, found in passing.
    """

    order: Order
    storage: PosixStorage
    lease: Lease
    settings: SiteSettings
    known: bytes
    watch: Watch
    web: Web
    landing: Landing
    pace: Pace
    load: Load = field(default_factory=Load)
    changed: threading.Condition = field(default_factory=threading.Condition)
    owners: dict[str, Item] = field(init=False)
    blobs: dict[str, bytes] = field(default_factory=dict)
    pieces: bytes | None = None

    def __post_init__(self) -> None:
        self.owners = {item.path: item for item in reversed(self.order.items)}

    @property
    def tallies(self) -> Tallies:
        """The counters of all hosts."""
        return self.watch.tallies

    def say(self, note: str) -> None:
        """Tell what the attempt waits for; nothing once it goes on."""
        self.lease.note = self.watch.note = note

    def have_room(self, needed: int) -> None:
        """Make sure that this host can take ``needed`` more bytes.

        Raises:
            Local: it cannot.
        """
        free = self.storage.free()
        if needed > free:
            raise Local(f"{needed} bytes are still needed; this host's disk has {free} free")
