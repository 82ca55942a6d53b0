"""An order's items as one stream: end to end in the order of their offsets."""

from collections.abc import Sequence

from fleet.messages import Item, Order


def in_offset_order(items: Sequence[Item]) -> list[Item]:
    """Sort items by their place in the shard; those without one keep their order, at the end.

    An empty item comes before the one that begins at the same place.
    """
    return sorted(items, key=lambda item: (item.offset is None, item.offset or 0, item.size or 0))


def uncut(order: Order, sizes: Sequence[int]) -> str:
    """Why the pieces of a shard cannot be cut as ordered; empty if they can.

    Args:
        order: the order, for a shard.
        sizes: the sizes in bytes of its items in offset order, as they are in their places.
    """
    if not order.piece_length:
        return "no pieces were cut: the order asks for them but gives no piece length"
    at = 0
    for item, size in zip(in_offset_order(order.items), sizes, strict=True):
        if item.offset is not None and item.offset != at:
            return f"no pieces were cut: {item.path} begins at {item.offset}, not at {at}"
        at += size
    return ""
