"""An order's items as one stream, in the order of their offsets: end to end, or with padding.

Padding is zeros between and after them; there is some only where the order gives the stream's
length.
"""

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
        begin = at if item.offset is None else item.offset
        if begin < at or (begin > at and order.stream is None):
            return f"no pieces were cut: {item.path} begins at {begin}, not at {at}"
        at = begin + size
    if order.stream is not None and at > order.stream:
        return f"no pieces were cut: the items end at {at}, after the {order.stream} bytes ordered"
    return ""
