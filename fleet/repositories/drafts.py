"""Which draft or record is a version's: found again, or made once.

``POST /api/records`` makes a new concept each time it is asked, and its answer may be lost.  What
is guaranteed, and by what:

- **No second DOI.**  A draft has none; publishing mints it, and only the record that the caller
  remembers is ever published.  It is remembered before anything else is done with it.
- **No second draft** of a first version, as long as the repository's index shows a draft within
  ``SETTLE`` seconds of when it was asked for.  That one is asked for is remembered before it is
  asked; whoever finds that and no id searches until then, by the URN that the draft was born with,
  before it asks again.  A draft that shows up even later is discarded (``strays``).
- **No second draft of a next version**: the repository gives the same one for each asking, and
  whether the version is the latest already is read from its database, which has no lag.
- With no memory at all (a restored backup) the search alone is left, as good as the index is.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Final

from fleet.invenio.calls import Calls, nothing, part
from fleet.invenio.faults import Gone, Refused, RepositoryError, Unfit, Unsure
from fleet.invenio.patience import TURNS, settled
from fleet.invenio.shapes import Json, Record, complaints, hits, record
from fleet.repositories.deposit import Deposit, Memory

SETTLE: Final = 300.0
"""Longer than a gateway waits for its server (504) and an index for its refresh together."""
_LOOK: Final = 5.0
_MOST_HITS: Final = "100"
Remember = Callable[[Memory], None]


class Drafts:
    """The records and drafts of one account.

    Args:
        calls: to the repository, with the account's token.
        remember: keeps a memory; it is kept for good once this returns.  It raises where another
            run has taken over, and nothing more is asked then.
        settle: see ``SETTLE``.
    """

    def __init__(self, calls: Calls, remember: Remember, settle: float = SETTLE) -> None:
        self._calls = calls
        self._remember = remember
        self._settle = settle

    def of(self, deposit: Deposit, memory: Memory, born: Json) -> tuple[Memory, Record]:
        """Give the draft or record of a version, and remember it.

        Args:
            deposit: the version.
            memory: what is known of its publication.
            born: what a new draft is made with; it has the URN.
        """
        if memory.record:
            return memory, self.known(memory.record)
        found = self._searched(deposit)
        if found is None and deposit.previous:
            found = self._next(deposit)
        elif found is None:
            found = self._first(deposit, memory, born)
        memory = Memory(record=found.id)
        self._remember(memory)
        return memory, found

    def known(self, name: str) -> Record:
        """Read a record or draft that there has to be.

        Raises:
            Gone: it is there no more.
        """
        found = self.find(name)
        if found is None:
            raise Gone(
                f"record {name}: {self._calls.url} has neither a draft nor a record of this id; "
                f"somebody must have discarded it: forget the id to have another one made"
            )
        return found

    def find(self, name: str) -> Record | None:
        """Read a record, or where it is not published its draft.

        The record first: one whose metadata a person edits has a draft beside it.  And last, for a
        draft may become the record between the first two.
        """
        doing = f"record {name}: read what there is of it"
        at = f"/api/records/{part(name)}"
        for path in (at, f"{at}/draft", at):
            found = self._calls.get(path, doing, record)
            if found is not None and found.id != name:
                raise Unfit(f"{doing}: that leads to {found.id}; give a version's id, no concept's")
            if found is not None:
                return found
        return None

    def strays(self, deposit: Deposit, kept: Record) -> None:
        """Discard first drafts of this version beside the record that was published."""
        with suppress(RepositoryError):
            for one in self._hits(deposit):
                if not one.published and one.index == 1 and one.concept != kept.concept:
                    path, doing = (
                        f"/api/records/{part(one.id)}/draft",
                        f"draft {one.id}: discard it",
                    )
                    self._calls.send("DELETE", path, doing, nothing)

    def _searched(self, deposit: Deposit) -> Record | None:
        """Find a version by its URN: what is published before what is not, the oldest first.

        The index only says where to look.  Drafts of next versions do not count: they are born with
        the URN of the version before, and are asked for by their concept.
        """
        found = self._hits(deposit)
        for hit in sorted(found, key=lambda one: (not one.published, len(one.id), one.id)):
            one = self.find(hit.id)
            if one is None or deposit.urn not in one.identifiers:
                continue
            if one.published or (one.index == 1 and not deposit.previous):
                return one
        return None

    def _hits(self, deposit: Deposit) -> list[Record]:
        query = {
            "q": f'metadata.identifiers.identifier:"{deposit.urn}"',
            "allversions": "true",
            "size": _MOST_HITS,
        }
        doing = f"{deposit.urn}: search for its record"
        found = self._calls.get("/api/user/records", doing, hits, query)
        if found is None:
            raise Unsure(f"{doing}: {self._calls.url} has no such search")
        return [one for one in found if deposit.urn in one.identifiers]

    def _first(self, deposit: Deposit, memory: Memory, born: Json) -> Record:
        """Make the first draft of a concept, unless one was asked for that shows up in time."""
        doing = f"{deposit.urn}: make a draft"
        trouble: RepositoryError | None = None
        for _ in range(TURNS):
            if memory.asked is not None and (found := self._awaited(deposit, memory.asked)):
                return found
            memory = replace(memory, asked=self._calls.patience.now())
            self._remember(memory)
            try:
                return self._make(deposit, doing, born)
            except Unsure as error:
                trouble = error
            except RepositoryError:  # it was not asked, or not done
                self._remember(Memory())
                raise
        raise trouble or AssertionError

    def _make(self, deposit: Deposit, doing: str, born: Json) -> Record:
        found, lost = self._calls.send("POST", "/api/records", doing, _made, born)
        if deposit.urn in found.identifiers:
            return found
        path = f"/api/records/{part(found.id)}/draft"
        with suppress(RepositoryError):
            self._calls.send("DELETE", path, f"draft {found.id}: discard it", nothing)
        said = self._calls.plain("; ".join(lost))
        raise Refused(f"{doing}: it does not keep our URN, by which it is found again: {said}", 400)

    def _awaited(self, deposit: Deposit, asked: float) -> Record | None:
        """Search for a draft of which nobody was told, until the index must have it."""
        while True:
            found = self._searched(deposit)
            left = asked + self._settle - self._calls.patience.now()
            if found is not None or left <= 0:
                return found
            why = (
                f"{deposit.urn}: a draft was asked for, and it is not known yet whether it is there"
            )
            self._calls.patience.wait(min(left, _LOOK), why)

    def _next(self, deposit: Deposit) -> Record:
        """Give the draft of the next version, or the latest if that is this very version."""
        doing = f"record {deposit.previous}: make the draft of {deposit.urn}, its next version"
        here = f"/api/records/{part(deposit.previous)}/versions"
        latest = self._calls.get(f"{here}/latest", doing, record)
        if latest is None:
            raise Unfit(f"{doing}: there is no such record, or it is not published")
        if deposit.urn in latest.identifiers:
            return latest
        draft: Record = settled(
            self._calls.patience,
            doing,
            lambda: None,
            lambda: self._calls.send("POST", here, doing, record),
        )
        if draft.published or draft.concept != latest.concept:
            raise Unsure(f"{doing}: the answer is not a draft of concept {latest.concept}")
        fresh = draft.identifiers <= latest.identifiers and not draft.files
        if deposit.urn not in draft.identifiers and not fresh:
            raise Unfit(
                f"{doing}: its concept has one draft at a time, and draft {draft.id} is another's "
                f"work: publish or discard it first"
            )
        return draft


def left_out(body: Json) -> list[str]:
    """Tell what a repository left out of the metadata that a draft was saved with.

    That a draft has no files yet is among its complaints, and is not meant.
    """
    return [one for one in complaints(body) if not one.startswith("files.")]


def _made(body: Json) -> tuple[Record, list[str]]:
    return record(body), left_out(body)
