"""What a fault of a source means: decisions on one item, taken while ``run.changed`` is held.

- A file that changes while it is read is begun again once; a source that does so once more, or
  while others serve, is out.
- A known piece that is wrong convicts whoever sent all of it; what else he sent was checked.
- What breaks off because we made it wait is asked for again, and nobody is blamed.
- A host that wants to be left alone for long is, by all items of the attempt.
- Otherwise wrong bytes are thrown away with all else that their source sent.
"""

from time import monotonic

from workers.pull.faults import Again, Changed, Fault, OtherSize, Passing, Worthless
from workers.pull.holding import Holding
from workers.pull.mirror import Mirror, in_use
from workers.pull.pieces import WrongPiece


def take(holding: Holding, mirror: Mirror, fault: Fault) -> None:
    """Decide what follows from a fault of a mirror."""
    evidence = ""
    if isinstance(fault, WrongPiece):
        holding.forget(fault.start, fault.end)
        evidence = str(fault)
    blamed = _blamed(holding, mirror, fault)
    if blamed is None:
        return
    if blamed is mirror.tally.out:  # which another item has found out before
        holding.drop(mirror, blamed)
        return
    mirror.tally.blame(blamed, evidence, mirror.source.url)
    if isinstance(blamed, Passing):
        mirror.failed(blamed, monotonic())
        if not mirror.out:
            return
    holding.drop(mirror, blamed)
    if isinstance(blamed, Worthless) and not evidence:
        _disown(holding, mirror)


def _blamed(holding: Holding, mirror: Mirror, fault: Fault) -> Fault | None:
    """Say what the mirror is to blame for; None for nothing, or nothing yet."""
    if isinstance(fault, WrongPiece):
        # Who sent the rest of a piece that is not its own is not known.
        told = f"{mirror.tally.host}: sent the wrong bytes ({fault})"
        return Worthless(told) if fault.own else None
    if isinstance(fault, Changed):
        again = change(holding, mirror, str(fault))
        if again is None:
            holding.spoil()
        return again
    if isinstance(fault, OtherSize) and holding.item.size is None and holding.proven:
        # One of them lies about the size, and nobody knows which: one after another is asked.
        holding.only = next(iter(in_use(holding.mirrors)), None)
        holding.spoil()
        return None
    return None if isinstance(fault, Again) else fault


def _disown(holding: Holding, mirror: Mirror) -> None:
    """Throw away what a mirror brought."""
    if holding.extents.taking_part <= {mirror.number}:
        holding.spoil()
        return
    for start, end in holding.extents.runs_of(mirror.number):
        holding.forget(start, end)


def change(holding: Holding, mirror: Mirror, told: str) -> Worthless | None:
    """Take a change of a mirror's file while it is read: the fault, if it is not the first.

    While others serve the file, the first is one too many.
    """
    mirror.changes += 1
    if [one for one in holding.candidates() if one is not mirror]:
        return Worthless(told)
    return Worthless(f"{told}, again and again while it is read") if mirror.changes > 1 else None
