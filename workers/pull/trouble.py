"""What a fault of a source means: decisions on one item, taken while ``run.changed`` is held.

- A file that changes while it is read is begun again once; a source that does so once more, or
  while others serve, is out.
- A known piece that is wrong convicts whoever sent all of it; what else he sent was checked.
- Otherwise wrong bytes are thrown away with all else that their source sent.
"""

from time import monotonic
from typing import TYPE_CHECKING

from workers.pull.faults import Changed, Fault, Passing, Worthless
from workers.pull.fetch import Fetch
from workers.pull.mirror import Mirror
from workers.pull.pieces import WrongPiece

if TYPE_CHECKING:
    from workers.pull.download import Download


def take(download: "Download", fetch: Fetch, fault: Fault) -> None:
    """Decide what follows from a fault of a mirror."""
    mirror, evidence = fetch.mirror, ""
    if isinstance(fault, WrongPiece):
        download.forget(fault.start, fault.end)
        if not fault.own:
            return  # who sent the rest of the piece is not known
        evidence = str(fault)
        fault = Worthless(f"{mirror.tally.host}: sent the wrong bytes ({fault})")
    elif isinstance(fault, Changed):
        told = change(download, mirror, str(fault))
        if told is None:
            download.spoil()
            return
        fault = told
    mirror.tally.blame(fault, evidence)
    if isinstance(fault, Passing):
        mirror.failed(fault, monotonic())
        if not mirror.out:
            return
    download.drop(mirror, fault)
    if isinstance(fault, Worthless) and not evidence:
        _disown(download, mirror)


def _disown(download: "Download", mirror: Mirror) -> None:
    """Throw away what a mirror brought."""
    if download.extents.taking_part <= {mirror.number}:
        download.spoil()
        return
    for start, end in download.extents.runs_of(mirror.number):
        download.forget(start, end)


def change(download: "Download", mirror: Mirror, told: str) -> Worthless | None:
    """Take a change of a mirror's file while it is read: the fault, if it is not the first.

    While others serve the file, the first is one too many.
    """
    mirror.changes += 1
    if [one for one in download.candidates() if one is not mirror]:
        return Worthless(told)
    return Worthless(f"{told}, again and again while it is read") if mirror.changes > 1 else None
