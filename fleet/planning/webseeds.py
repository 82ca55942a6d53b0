"""Which copies a torrent may name as web seeds (BEP 19): those that were seen to serve a piece."""

from fleet.planning.facts import WebSeedFacts
from fleet.planning.reading import ITEMS, RECORDS
from fleet.planning.states import ReplicaState


def unlisted(copy: WebSeedFacts) -> str:
    """Say why a copy is no web seed now; empty if it is one."""
    if copy.readable and copy.driver == RECORDS:
        return "each range of it would count against what the repository lets its readers ask"
    if copy.readable and copy.driver == ITEMS and not copy.single:
        return "BEP 19 names several files by their torrent's folders, and its item has others"
    return unread(copy)


def unread(copy: WebSeedFacts) -> str:
    """Say why nobody outside the fleet is sent to a copy now; empty if they are."""
    if not copy.readable:
        return "its site is not read over HTTP"
    if copy.state != ReplicaState.AVAILABLE:
        return f"it is {copy.state}"
    if copy.incident:
        return f"its site is at fault: {copy.incident}"
    if not copy.proved:
        return "no other site has read a whole piece of it by a range since it became available"
    return ""
