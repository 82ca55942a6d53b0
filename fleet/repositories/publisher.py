"""A version becomes a record: step by step, each read before it is done.

``publish`` does all.  An executor that has the bytes may do the middle: the centre calls
``prepare``, the executor fills the draft (``fleet.invenio.DraftFiles``), the centre calls
``finish``.  Each may be called again after anything that happened, with what was remembered last.
"""

from dataclasses import replace

from fleet.invenio.calls import Calls, part
from fleet.invenio.faults import Corrupt, Unfit
from fleet.invenio.files import DraftFiles, Opener
from fleet.invenio.patience import settled
from fleet.invenio.reading import Published, published
from fleet.invenio.shapes import Json, Record, record
from fleet.planning.repositories import unfit
from fleet.repositories.deposit import Deposit, Memory
from fleet.repositories.describe import metadata, says
from fleet.repositories.drafts import SETTLE, Drafts, Remember, left_out
from fleet.repositories.reviews import Reviews


class Publisher:
    """Publishes versions in one repository; see ``Drafts`` for what is guaranteed."""

    def __init__(self, calls: Calls, remember: Remember, settle: float = SETTLE) -> None:
        self._calls = calls
        self._remember = remember
        self._drafts = Drafts(calls, remember, settle)
        self._reviews = Reviews(calls)

    def publish(self, deposit: Deposit, memory: Memory, opened: Opener) -> Published:
        """Publish a version whose files can be read here.

        Args:
            deposit: the version.
            memory: what was remembered last; ``Memory()`` at first.
            opened: opens one of its files.

        Raises:
            Waiting: a community has to answer first.
            RepositoryError: it could not be done; ``final`` says whether it is worth trying again.
        """
        memory, found = self._prepared(deposit, memory)
        if not found.published:
            DraftFiles(self._calls, found.id).fill(deposit.files, opened)
        return self.finish(deposit, memory)

    def prepare(self, deposit: Deposit, memory: Memory) -> Memory:
        """Have a draft with the version's metadata and a DOI, and nothing to be sent in vain."""
        return self._prepared(deposit, memory)[0]

    def is_published(self, memory: Memory) -> bool:
        """Tell whether what is remembered is a record already, whose files none may change."""
        return self._drafts.known(memory.record).published

    def finish(self, deposit: Deposit, memory: Memory) -> Published:
        """Publish a draft that has all its files, and read the record back."""
        found = self._drafts.known(memory.record)
        before = found.published
        if not before:
            self._check(deposit, memory, found)
            found = self._published(deposit, found)
        done = published(self._calls, found)
        _verify(deposit, memory, done, before=before)
        if not deposit.previous:
            self._drafts.strays(deposit, found)
        return done

    def _prepared(self, deposit: Deposit, memory: Memory) -> tuple[Memory, Record]:
        if reason := unfit([(one.key, one.size) for one in deposit.files], deposit.limits):
            raise Unfit(f"{deposit.urn}: {reason}; nothing was sent")
        described = metadata(deposit.urn, deposit.description)
        memory, found = self._drafts.of(deposit, memory, _body(described, {}))
        if not found.published:
            found = self._reserved(found)
            found = self._described(found, described)
        elif deposit.urn not in found.identifiers:
            raise Corrupt(f"record {found.id}: it is published and does not bear {deposit.urn}")
        if memory.doi not in {"", found.doi}:
            raise Unfit(
                f"record {found.id}: its DOI was {memory.doi} and is now "
                f"{found.doi or 'none'}: find out who changed it before it is cited"
            )
        if memory.doi != found.doi:
            memory = replace(memory, doi=found.doi)
            self._remember(memory)
        return memory, found

    def _reserved(self, found: Record) -> Record:
        """Have a DOI reserved, which is minted once the record is published."""
        doing = f"draft {found.id}: reserve its DOI"
        path = f"{_draft(found)}/pids/doi"

        def read() -> Record | None:
            now = self._drafts.known(found.id)
            return now if now.doi or now.published else None

        def reserve() -> Record | None:
            told = self._calls.send("POST", path, doing, record)
            return told if told.doi else None

        if found.doi:
            return found
        return settled(self._calls.patience, doing, read, reserve)

    def _described(self, found: Record, described: Json) -> Record:
        """Have a draft say what it shall; its DOI is named, for it was seen to be dropped else."""
        doing = f"draft {found.id}: describe it"

        def read() -> Record | None:
            nonlocal found
            found = self._drafts.known(found.id)
            return found if found.published or says(found.metadata, described) else None

        def describe() -> Record:
            def told(body: Json) -> Record:
                if lost := left_out(body):
                    said = self._calls.plain("; ".join(lost))
                    raise Unfit(f"{doing}: {self._calls.url} does not take it: {said}")
                return record(body)

            return self._calls.send("PUT", _draft(found), doing, told, _body(described, found.pids))

        if says(found.metadata, described):
            return found
        return settled(self._calls.patience, doing, read, describe)

    def _check(self, deposit: Deposit, memory: Memory, found: Record) -> None:
        """Hold a draft against what shall be published, for nothing can be changed after that."""
        doing = f"draft {found.id}: publish it"
        if not memory.doi or found.doi != memory.doi:
            raise Unfit(
                f"{doing}: its DOI is {found.doi or 'none'}, not {memory.doi or 'reserved'}"
            )
        if deposit.urn not in found.identifiers:
            raise Unfit(f"{doing}: it is not the draft of {deposit.urn}")
        if odd := DraftFiles(self._calls, found.id).lacking(deposit.files):
            raise Unfit(f"{doing}: not as wanted are {', '.join(odd[:5])}: fill it first")

    def _published(self, deposit: Deposit, found: Record) -> Record:
        if deposit.community and found.index == 1:
            return self._reviews.passed(deposit, found, self._drafts.known)
        doing = f"draft {found.id}: publish it"

        def read() -> Record | None:
            now = self._drafts.known(found.id)
            return now if now.published else None

        def publish() -> Record | None:
            told = self._calls.send("POST", f"{_draft(found)}/actions/publish", doing, record)
            return told if told.published and told.id == found.id else None

        return settled(self._calls.patience, doing, read, publish)


def _draft(found: Record) -> str:
    return f"/api/records/{part(found.id)}/draft"


def _body(described: Json, pids: Json) -> Json:
    body: Json = {
        "metadata": described,
        "access": {"record": "public", "files": "public"},
        "files": {"enabled": True},
    }
    return {**body, "pids": pids} if pids else body


def _verify(deposit: Deposit, memory: Memory, done: Published, *, before: bool) -> None:
    """Hold a record against what should have been published.

    Of one that was published ``before`` the papers are what they were then: mirrors and trackers
    may have changed since.
    """
    where = f"record {done.id}"
    if memory.doi and done.doi != memory.doi:
        raise Corrupt(f"{where}: its DOI is {done.doi}, and {memory.doi} was reserved: look at it")
    held = {(one.key, one.size, one.md5) for one in done.files}
    wanted = {(one.key, one.size, one.md5) for one in deposit.files}
    papers = deposit.papers if before else frozenset()
    data = {one for one in wanted if one[0] not in papers}
    if odd := sorted({key for key, _, _ in (data - held if before else held ^ wanted)}):
        raise Corrupt(
            f"{where}: it is published, and other than they should be are {', '.join(odd[:5])}: "
            f"a record cannot be mended; withdraw it or publish a new version"
        )
