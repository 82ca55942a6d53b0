"""Things that belong together because of pairs that do: a union-find.  Pure."""


class Groups:
    """Groups of indices; each index begins as a group by itself."""

    def __init__(self) -> None:
        self._above: dict[int, int] = {}

    def find(self, index: int) -> int:
        """Return the index that stands for the whole group of ``index``."""
        leader = index
        while (above := self._above.get(leader, leader)) != leader:
            leader = above
        while index != leader:
            above = self._above.get(index, leader)
            self._above[index] = leader
            index = above
        return leader

    def join(self, one: int, other: int) -> None:
        """Make one group of two."""
        first, second = self.find(one), self.find(other)
        if first != second:
            self._above[second] = first
