"""What a person, or a program, may see of a pull while it goes on."""

from dataclasses import dataclass, field

from workers.pull.tally import Tallies


@dataclass
class Watch:
    """Counters of a pull, or of several; written by its threads, read by whoever shows them.

    Pulls at once have one each, and may share what is kept by artifact and the tallies.

    Attributes:
        items: how many are to be pulled.
        items_failed: how many could not be had.
        sizes: how long each is, by its artifact; None as long as it is not known.
        held: how many bytes of each are here, by its artifact.
        tallies: each host's counters.
        note: what the pull waits for; empty while it goes on.
    """

    items: int = 0
    items_failed: int = 0
    sizes: dict[str, int | None] = field(default_factory=dict)
    held: dict[str, int] = field(default_factory=dict)
    tallies: Tallies = field(default_factory=Tallies)
    note: str = ""

    @property
    def bytes_total(self) -> int | None:
        """The sizes of all items together; None as long as one is not known."""
        sizes = list(self.sizes.values())
        return None if None in sizes else sum(size or 0 for size in sizes)

    @property
    def bytes_done(self) -> int:
        """How much of that is held."""
        return sum(list(self.held.values()))
