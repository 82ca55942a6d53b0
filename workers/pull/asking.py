"""What to ask of whom: decisions on one item, taken while ``run.changed`` is held.

- The first answer is read alone: it tells the size, and whether ranges can be had.
- What a digest is known of may come from several sources.  What is not (an ingest) comes from one
  source alone, and in several ranges only where a strong ETag says that they are of one file.
- A source is asked for as much at once as it brings in ``AHEAD_SECONDS``, and for no more than its
  share of what is left, so that all end at about the same time.
- An answer is cut short for a helper only if it would take a while longer.
- Nothing is asked for that the digests could not read from memory when they get there.
"""

from time import monotonic

from workers.pull.answers import Part, Validator, continuable
from workers.pull.download import LEAST, Download
from workers.pull.extents import ENDLESS, GRANULE, Claim
from workers.pull.faults import Passing
from workers.pull.fetch import Fetch
from workers.pull.mirror import MOST_STREAMS, Mirror, pick, typical_rate

MOST = 128 * 1024 * 1024  # of one claim
WHOLE = 8 * 1024 * 1024  # not worth several requests
AHEAD_SECONDS = 2.0
SOON_SECONDS = 1.0
WHOLE_SECONDS = 10.0  # for an answer that has no end but the file's
BACKLOG = 256 * 1024 * 1024


def next_fetch(download: Download) -> Fetch | None:
    """Choose the next bytes to ask for; None if there is nothing to ask just now."""
    if download.cross is not None:
        return None if download.spoilt else download.cross.next()
    if download.spoilt or download.finished or not _may_ask(download):
        return None
    mirror = pick(_open(download), monotonic(), spare=download.run.load.spare)
    if mirror is None:
        return None
    if not _continues(download, mirror) or download.extents.size == 0:
        return download.fetch(mirror, Claim(mirror.number, 0, 0, 0), Part())
    claim = download.extents.claim(mirror.number, _most(download, mirror))
    if claim is not None and _mixes(download, claim):
        download.extents.release(claim)
        download.forget(claim.at - claim.at % (download.run.order.piece_length or 1), claim.at)
        claim = download.extents.claim(mirror.number, _most(download, mirror))
    return None if claim is None else download.fetch(mirror, claim, _part(download, mirror, claim))


def steal(download: Download) -> Fetch | None:
    """Help the slowest stream out; None if nobody needs it."""
    if download.cross is not None:
        return None if download.spoilt else download.cross.steal()
    if download.spoilt or not download.opened or not _may_ask(download):
        return None
    now = monotonic()
    mirror = pick(_open(download), now, spare=download.run.load.spare)
    if mirror is None or not mirror.ranged:
        return None
    usual = typical_rate(download.mirrors)
    for fetch in download.fetches:
        fetch.claim.rate = fetch.pace(now) or usual
    if all(_soon_done(fetch) for fetch in download.fetches):
        return None
    first = download.fetches[0]
    if len(download.fetches) == 1 and not first.bounded:
        ahead = int(first.claim.rate * AHEAD_SECONDS)
        first.claim.end = download.extents.bound(first.claim, ahead)
        return next_fetch(download)
    under_way = [fetch for fetch in download.fetches if fetch.claim.left > 0]
    claim = download.extents.steal(mirror.number, mirror.rate or usual, least=LEAST)
    if claim is None:
        return None
    for fetch in under_way:
        if fetch.claim.left <= 0:
            download.forget(claim.start, claim.end)
            _overtaken(download, fetch, now)
    return download.fetch(mirror, claim, _part(download, mirror, claim))


def _open(download: Download) -> list[Mirror]:
    """Choose whom the budgets of their providers let us ask at all."""
    pace = download.run.pace
    return [one for one in download.candidates() if pace.open(one.tally.host)]


def _mixes(download: Download, claim: Claim) -> bool:
    """Whether a piece would be of two sources, so that neither could be convicted of it."""
    if not download.checked:
        return False
    begin = claim.at - claim.at % (download.run.order.piece_length or 1)
    before = download.extents.authors[begin // GRANULE : claim.at // GRANULE]
    return any(author != claim.author for author in before)


def _soon_done(fetch: Fetch) -> bool:
    """Whether helping out is not worth what is lost: what was sent already of an answer's rest."""
    worth = SOON_SECONDS if fetch.bounded else WHOLE_SECONDS
    return not fetch.claim.rate or fetch.claim.seconds_left() < worth


def _may_ask(download: Download) -> bool:
    """Whether one more answer may be read beside those that are."""
    if download.lanes and download.extents.front - download.lanes.position > BACKLOG:
        return False  # what the digests still have to read should be in memory
    if not download.fetches:
        return True
    lead = download.fetches[0].mirror
    joinable = download.proven or lead.validator.strong
    return (
        download.opened and download.only is None and joinable and download.extents.size is not None
    )


def _continues(download: Download, mirror: Mirror) -> bool:
    """Whether what is held may be gone on with by this mirror."""
    if download.proven or not download.extents.begun:
        return True
    own = download.extents.taking_part <= {mirror.number}
    part = Part(download.extents.front or 1, download.extents.size, mirror.validator, same_url=own)
    return continuable(part, proven=False)


def _most(download: Download, mirror: Mirror) -> int:
    """Choose how many bytes to ask of a mirror at once."""
    size = download.extents.size or 0
    if download.only is not None or not mirror.ranged or size <= WHOLE:
        return size
    each = MOST_STREAMS if download.run.load.spare else 1
    streams = min(download.run.lease.budget.streams, each * len(download.candidates()))
    if download.run.lease.budget.streams == 1:
        return size
    ahead = int(mirror.rate * AHEAD_SECONDS)
    share = (size - download.extents.held) // streams
    return max(LEAST, min(MOST, ahead, share))


def _part(download: Download, mirror: Mirror, claim: Claim) -> Part:
    rest = claim.end in {ENDLESS, download.extents.size}
    end = None if rest else claim.end
    alone = download.proven and len(download.candidates()) == 1
    # The nodes of one host may name the same bytes differently; the digest decides in the end.
    validator = Validator() if alone else mirror.validator
    return Part(claim.at, download.extents.size, validator, end=end)


def _overtaken(download: Download, fetch: Fetch, now: float) -> None:
    """End a stream that another has taken everything from."""
    host, rate = fetch.mirror.tally.host, fetch.pace(now)
    fault = Passing(f"{host}: fell behind the others, at {rate / 1000:.0f} kB/s")
    fetch.cut()
    fetch.mirror.tally.blame(fault)
    fetch.mirror.failed(fault, now)
    if fetch.mirror.out:
        download.drop(fetch.mirror, fault)
