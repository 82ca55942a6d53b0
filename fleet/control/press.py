"""The press: the catalogue is written anew when it is worth it, signed, and given to the sites.

Rules this module keeps (when each is due is ``fleet.planning.press``):

- The tick gathers what changed, and wakes; who writes is the consumer, one at a time.
- Only datasets that changed are read and made anew.  What changed is let go of once it is written
  and on the disk: who is killed before that does it again, and the same state has the same bytes.
- One dataset that cannot be told stops no other: it stays as it was told, and is tried again.
- Without keys that fit it is written all the same, unsigned and at no site, and says why.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

import structlog
from sqlalchemy.exc import DBAPIError
from sqlmodel import Session

from fleet import wakeups
from fleet.catalogue.edition import Edition
from fleet.catalogue.entry import Dataset
from fleet.catalogue.signing import copies, publishing
from fleet.catalogue.signing.errors import SigningError
from fleet.catalogue.signing.keys import read_online
from fleet.catalogue.whole import alone
from fleet.control import catalogue, issues
from fleet.control.causes import PRESS
from fleet.planning import press as planning
from fleet.settings import CentreSettings
from fleet.store import cataloguing, holdings, untold
from fleet.store.database import Store
from fleet.store.tables import Press, Wakeup

_log = structlog.get_logger()
_PAUSE = timedelta(seconds=5)  # between two looks at what was noted


def step(store: Store, settings: CentreSettings) -> bool:
    """Gather what changed, and wake who writes when that is due; there is never more of it."""
    with store.read() as session:
        now, row = store.now(session), session.get(Press, PRESS)
        gathered = row.gathered_at if row is not None else None
        fresh = (gathered is None or gathered + _PAUSE <= now) and untold.noted(session)
        due = row is not None and row.look_at is not None and row.look_at <= now
    if fresh or due:
        with store.write() as session:
            _look(session, settings, store.now(session))
    return False


def _look(session: Session, settings: CentreSettings, now: datetime) -> None:
    row = _row(session)
    untold.gather(session, now)
    row.gathered_at = now
    moments = (planning.write_at(untold.span(session, now), row.again), _mirror_at(session, now))
    due = min((one for one in moments if one is not None), default=None)
    lease = timedelta(seconds=settings.lease_seconds)
    if due is not None and row.woken_at is not None:
        due = max(due, row.woken_at + lease)
    if due is not None and due <= now:
        session.add(Wakeup(site_id="", task=wakeups.PRESS, created_at=now))
        row.woken_at, due = now, now + lease
    row.look_at = due


def _mirror_at(session: Session, now: datetime) -> datetime | None:
    row = _row(session)
    state = planning.Mirroring(
        lacks=row.signed != row.mirrored,
        begun=row.begun,
        under_way=issues.under_way(session) is not None,
    )
    return planning.mirror_at(state, now)


def issue(store: Store, settings: CentreSettings) -> str:
    """Write what changed, sign it and give it to the sites, as far as it is due; say what was done.

    Raises:
        OSError: the catalogue cannot be written; what was there is whole, and it is tried again.
        DBAPIError: the database is away; likewise.
    """
    memory = settings.home / "press"
    memory.mkdir(parents=True, exist_ok=True)
    try:
        with alone(memory):
            wrote = _write(store, settings)
            return "; ".join((wrote, _mirror(store, settings)))
    except BlockingIOError:
        return "another one is at it"


def _write(store: Store, settings: CentreSettings) -> str:
    """Write and sign the catalogue, if that is due."""
    with store.write() as session:
        now, row = store.now(session), _row(session)
        untold.gather(session, now)
        span = untold.span(session, now)
        if not _is_due(planning.write_at(span, row.again), now):
            row.woken_at, row.look_at = None, now
            return "nothing is to be told yet"
        is_news = _is_due(planning.write_at(span, None), now)
        changed = untold.rows(session) if is_news else []
        made, before = row.made, row.reason
    with store.read() as session:
        names, sites = cataloguing.datasets(session), cataloguing.sites(session)
    base, ours = f"{settings.centre_url}/catalogue", _made(settings)
    edition = Edition(settings.catalogue, settings.home / "press" / "rows", base, sites)
    wanted = [one.dataset for one in changed]
    if made != ours or not len(edition) or not edition.files:
        wanted = sorted({*wanted, *names})
    bad = _put(edition, store, settings, wanted)
    if wanted:
        edition.write()
    mark, reason = _sign(edition, settings, now) if edition.files else ("", "")
    if reason and reason != before:
        _log.warning("the catalogue's signatures", reason=reason)
    with store.write() as session:
        now, row = store.now(session), _row(session)
        untold.forget(session, changed)
        untold.put_off(session, bad, now + planning.UNTELLABLE)
        row.made, row.written_at, row.reason = ours, now, reason
        row.signed = mark or row.signed
        row.again = planning.look_again(signed=bool(mark), now=now)
        row.woken_at, row.look_at = None, now
    told = f"{len(wanted) - len(bad):,} datasets were told anew"
    return "; ".join(filter(None, (told, reason)))


def _put(
    edition: Edition, store: Store, settings: CentreSettings, names: Sequence[str]
) -> list[str]:
    """Put datasets into an edition; return those that cannot be told.

    Where something goes wrong they are halved, until the bad one is by itself.
    """
    read: set[str] = set()

    def told() -> Iterator[tuple[str, Dataset | None]]:
        for name, dataset in catalogue.datasets(store, settings, names):
            read.add(name)
            yield name, dataset

    try:
        edition.put(told())
    except (OSError, DBAPIError):
        raise
    except Exception:  # noqa: BLE001 - one bad dataset never stops the others
        middle = len(names) // 2
        if middle:
            halves = (names[:middle], names[middle:])
            return [bad for half in halves for bad in _put(edition, store, settings, half)]
        _log.exception("dataset left out of the catalogue", dataset=names[0])
        return list(names)
    return [name for name in names if name not in read]


def _sign(edition: Edition, settings: CentreSettings, now: datetime) -> tuple[str, str]:
    """Sign what was written; return the mark of the state, and what a person should see to."""
    try:
        keys = read_online(settings.catalogue_keys)
        done = publishing.publish(settings.catalogue, edition.files, keys, now)
        mark = copies.mark(settings.catalogue)
    except SigningError as error:
        return "", f"it is not signed, so no site gets it: {error}"
    return mark, "; ".join(done.warnings)


def _made(settings: CentreSettings) -> str:
    """Name what, besides the datasets, each entry is made of."""
    return " ".join((settings.centre_url, *settings.trackers))


def _mirror(store: Store, settings: CentreSettings) -> str:
    """Give what is signed to the sites, if that is due."""
    with store.write() as session:
        now = store.now(session)
        if not _is_due(_mirror_at(session, now), now):
            return "no edition is begun"
    try:
        draft, label, mark = issues.prepare(settings)
    except SigningError as error:
        _log.warning("no edition of the catalogue is begun", reason=str(error))
        return f"no edition is begun: {error}"
    with store.write() as session:
        now, row = store.now(session), _row(session)
        row.signed, row.mirrored, row.begun, row.look_at = mark, mark, now, now
        return f"edition {issues.begin(session, draft, label, now)} is begun"


def _is_due(moment: datetime | None, now: datetime) -> bool:
    return moment is not None and moment <= now


def _row(session: Session) -> Press:
    """Return the press's row, taken for this unit of work."""
    if session.get(Press, PRESS) is None:
        session.add(Press(id=PRESS))
        session.flush()
    return holdings.lock(session, Press, PRESS)
