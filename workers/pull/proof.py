"""Whether a file that is all here is right; and if it is not, what to do about it.

Decisions this module takes:

- All bytes of one source, in one answer: it sent the wrong bytes, and is out.
- Bytes of several sources of which one lies: a cross-examination finds it (``cross.py``).
- Anything else is no proof: the file may have changed between two answers, or the disk have
  rotted between two attempts.  It is pulled clean, all of it from one source, and then it is one.
"""

from workers.digests import Found, mismatch
from workers.pull.answers import looks_like_page, page
from workers.pull.cross import CrossExamination
from workers.pull.download import Download
from workers.pull.faults import Worthless
from workers.pull.mirror import Mirror, in_use


def prove(download: Download) -> Found | None:
    """Check a whole file; None if it has to be fetched again.  Call it without the lock.

    Raises:
        OSError: it cannot be read.
        Stopped: the centre wants the attempt to end.
    """
    lanes = download.lanes
    assert lanes is not None
    found = lanes.finish(download.extents.size or 0)
    wrong = mismatch(download.item, found)
    if not wrong and download.proven:
        return found
    with download.run.changed:
        if _is_page(download):
            return None
        if wrong:
            _doubt(download, wrong)
            return None
    return found


def _is_page(download: Download) -> bool:
    """Put a source out that sent a page for a file."""
    if not looks_like_page(download.item.path, download.partial.head()):
        return False
    author = download.extents.authors[0]
    mirror = next((one for one in download.mirrors if one.number == author), None)
    if mirror is None:  # it is of an earlier attempt, and no source any more
        download.spoil()
        return True
    wanted = download.wanted(mirror)
    _convict(download, mirror, Worthless(str(page(wanted, "by its first bytes"))), "")
    return True


def _doubt(download: Download, wrong: str) -> None:
    """Decide what follows from wrong bytes."""
    mirror = download.sole or download.only
    if mirror is not None:
        told = Worthless(f"{mirror.tally.host}: sent the wrong bytes ({wrong})")
        _convict(download, mirror, told, wrong)
        return
    several = len(download.extents.taking_part) > 1 and len(download.candidates()) > 1
    if several and not download.examined:
        download.cross = CrossExamination(download)
        download.examined = True
    else:
        _begin_clean(download)


def convict(download: Download) -> None:
    """End a cross-examination: the liar is out, or nobody can be told to be one.

    Call it without the lock.
    """
    cross = download.cross
    found = cross.verdict() if cross is not None else None
    with download.run.changed:
        download.end_cross()
        if found is None:
            _begin_clean(download)
            return
        liar, evidence = found
        if liar is not None:
            told = Worthless(f"{liar.tally.host}: sent the wrong bytes ({evidence})")
            liar.tally.blame(told, evidence, liar.source.url)
            download.drop(liar, told)
        download.rewind()
        download.reach()


def _begin_clean(download: Download) -> None:
    """Begin anew, with one source after another."""
    download.only = next(iter(in_use(download.mirrors)), None)
    download.spoil()


def _convict(download: Download, mirror: Mirror, fault: Worthless, evidence: str) -> None:
    mirror.tally.blame(fault, evidence, mirror.source.url)
    download.drop(mirror, fault)
    download.spoil()
