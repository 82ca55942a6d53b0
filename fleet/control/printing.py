"""What the consumer does for the press: the catalogue is written, signed, and given to the sites.

Rules this module keeps:

- One at a time writes, and only datasets that changed are read and made anew.
- What changed is let go of once it is written and on the disk: who is killed before that does it
  again, and the same state has the same bytes.
- One dataset that cannot be told stops no other: it stays as it was told, and is tried again.
- Whatever else goes wrong is said by ``fleet why catalogue``, and tried again after a lease.
- Without keys that fit it is written all the same, unsigned and at no site, and says why.
- The centre keeps an edition's files before it commits it, since the catalogue goes on changing.
"""

import hashlib
import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

import structlog
from sqlalchemy.exc import DBAPIError

from fleet.catalogue.edition import Edition
from fleet.catalogue.entry import Dataset
from fleet.catalogue.signing import copies, publishing
from fleet.catalogue.signing.copies import Copy
from fleet.catalogue.signing.errors import SigningError
from fleet.catalogue.whole import alone
from fleet.control import catalogue, issues, kept, press
from fleet.control.errors import RefusedError
from fleet.importers import BUNDLE, DraftArtifact
from fleet.importers.media import media_type
from fleet.planning import press as planning
from fleet.settings import CentreSettings
from fleet.store import cataloguing, untold
from fleet.store.database import Store, is_away

_log = structlog.get_logger()
_METADATA = "metadata/"


def issue(store: Store, settings: CentreSettings) -> str:
    """Write what changed, sign it and give it to the sites, as far as it is due; say what was done.

    Raises:
        OSError: the catalogue cannot be written; what was there is whole, and it is tried again.
        DBAPIError: the database is away; likewise.
        Exception: whatever else went wrong; likewise.
    """
    memory, failed = settings.home / "press", "it cannot be written"
    try:
        memory.mkdir(parents=True, exist_ok=True)
        with alone(memory):
            written = _write(store, settings)
            failed = "no edition is begun"
            return f"{written}; {_mirror(store, settings)}"
    except BlockingIOError:
        return "another one is at it"
    except Exception as error:
        with suppress(DBAPIError):  # it may be the database that is away
            _note(store, f"{failed}: {_why(error)}")
        raise


def _why(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"{error.filename or ''} {error.strerror or error}".strip()
    if isinstance(error, DBAPIError):  # its own words show statements
        return str(error.orig).partition("\n")[0]
    return f"{type(error).__name__}, see the consumer's log: {error}".partition("\n")[0]


def _note(store: Store, reason: str) -> None:
    """Say why it came to nothing; who writes is woken again when a lease is over.

    It is then signed again in any case, so that no reason outlives its cause.
    """
    with store.write() as session:
        row, now = press.row_of(session), store.now(session)
        row.woken_at, row.again, row.reason = now, now, reason


def _write(store: Store, settings: CentreSettings) -> str:
    """Write and sign the catalogue, if that is due."""
    with store.write() as session:
        now, row = store.now(session), press.row_of(session)
        untold.gather(session, now)
        span = untold.span(session, now)
        if not _is_due(planning.write_at(span, row.again), now):
            return "nothing is to be told yet"
        is_news = _is_due(planning.write_at(span, None), now)
        changed = untold.rows(session) if is_news else []
        made, before = row.made, row.reason
        sites = cataloguing.sites(session)
    base = f"{settings.centre_url}/catalogue"
    ours = " ".join((base, *settings.trackers, *sites))
    edition = Edition(settings.catalogue, settings.home / "press" / "rows", base, sites)
    wanted = [one.dataset for one in changed]
    if made != ours or not len(edition) or not edition.files:
        wanted = sorted({*wanted, *_all(store)})
    bad = _put(edition, store, settings, wanted)
    if wanted:
        edition.write()
    mark, reason = _sign(edition, settings, now) if edition.files else ("", "")
    if reason and reason != before:
        _log.warning("the catalogue's signatures", reason=reason)
    bad += _own_tables(edition, [one for one in wanted if one not in bad])
    with store.write() as session:
        now, row = store.now(session), press.row_of(session)
        untold.forget(session, changed)
        untold.put_off(session, bad, now + planning.UNTELLABLE)
        row.made, row.written_at, row.reason = ours, now, reason
        row.signed = mark or row.signed
        row.again = planning.look_again(signed=bool(mark), now=now)
    told = f"{len(wanted) - len(bad):,} datasets were told anew"
    return "; ".join(filter(None, (told, reason)))


def _all(store: Store) -> list[str]:
    """Name all datasets; until they are told, whoever is killed begins with all of them again."""
    with store.write() as session:
        press.row_of(session).made = ""
        return cataloguing.datasets(session)


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
    except Exception as error:
        if isinstance(error, OSError) or is_away(error):
            raise  # no dataset's fault
        middle = len(names) // 2
        if middle:
            halves = (names[:middle], names[middle:])
            return [bad for half in halves for bad in _put(edition, store, settings, half)]
        _log.exception("dataset left out of the catalogue", dataset=names[0])
        return list(names)
    return [name for name in names if name not in read]


def _own_tables(edition: Edition, names: Sequence[str]) -> list[str]:
    """Write datasets' own tables; return those of which none can be made."""
    bad = []
    for name in names:
        try:
            edition.write_dataset(name)
        except OSError:
            raise  # no dataset's fault
        except Exception:  # noqa: BLE001 - one bad dataset never stops the others
            _log.exception("dataset without tables of its own", dataset=name)
            bad.append(name)
    return bad


def _sign(edition: Edition, settings: CentreSettings, now: datetime) -> tuple[str, str]:
    """Sign what was written; return the mark of the state, and what a person should see to."""
    try:
        keys = settings.catalogue_keys
        done = publishing.publish(settings.catalogue, edition.files, keys, now)
        mark = copies.mark(settings.catalogue)
    except SigningError as error:
        return "", f"it is not signed, so no site gets it: {error}"
    return mark, "; ".join(done.warnings)


def _mirror(store: Store, settings: CentreSettings) -> str:
    """Give what is signed to the sites, if that is due.

    That ends it: who is killed before is not woken again before a lease is over.
    """
    try:
        with store.write() as session:
            now, row = store.now(session), press.row_of(session)
            if not _is_due(press.mirror_at(session, now), now):
                row.woken_at, row.look_at = None, now
                return "no edition is begun"
            issues.check_free(session)
        with copies.copied(settings.catalogue) as copy:
            files = _kept(settings, copy)
    except (SigningError, RefusedError) as error:
        _note(store, f"no edition is begun: {error}")
        return f"no edition is begun: {error}"
    with store.write() as session:
        now = store.now(session)
        label = issues.begin(session, files, str(copy.state), now)
        row = press.row_of(session)  # after versions, as where one is published
        row.signed = row.mirrored = copy.mark
        row.begun = row.look_at = now
        row.woken_at = None
        return f"edition {label} is begun"


def _kept(settings: CentreSettings, copy: Copy) -> tuple[DraftArtifact, ...]:
    """Keep the files of a state until sites have them.

    Raises:
        OSError: they cannot be kept.
    """
    return tuple(_file(settings, name, path) for name, path in sorted(copy.files.items()))


def _file(settings: CentreSettings, name: str, path: Path) -> DraftArtifact:
    with path.open("rb") as file:
        sha256, size = hashlib.file_digest(file, "sha256").hexdigest(), file.tell()

    def write(place: BinaryIO) -> str:
        with path.open("rb") as file:
            shutil.copyfileobj(file, place)
        return sha256

    kept.keep(settings, write)
    return DraftArtifact(
        path=name,
        sources=(BUNDLE + sha256,),
        size=size,
        sha256=sha256,
        media_type=media_type(name),
        role="metadata" if name.startswith(_METADATA) else "data",
    )


def _is_due(moment: datetime | None, now: datetime) -> bool:
    return moment is not None and moment <= now
