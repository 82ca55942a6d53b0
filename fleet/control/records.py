"""The next step of a publication at its repository: carried out by the consumer, never by the tick.

Each step may be repeated after anything that happened: what is remembered is committed before the
repository is asked for more, and what is there already is read before it is asked for.
"""

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO

import structlog
from sqlalchemy.exc import DBAPIError
from sqlmodel import Session

from fleet.control import deposits, grants, holds
from fleet.control.deposits import Prepared
from fleet.control.descriptions import LackingError
from fleet.control.errors import RefusedError
from fleet.control.holds import Hold, SupersededError
from fleet.invenio import Calls, DraftFiles, Gone, Patience, RepositoryError, Wanted
from fleet.planning.publications import LOOK_AGAIN, SOON, lacks_mirrors
from fleet.planning.states import PublicationState
from fleet.repositories import Publisher
from fleet.settings import CentreSettings
from fleet.store.database import Store
from fleet.store.tables import Publication, Site, Version

_log = structlog.get_logger()
_AT_A_PERSON = "`fleet publish` asks for it again"


@dataclass(frozen=True)
class _Repository:
    """A repository as the centre speaks to it for one publication."""

    calls: Calls
    publisher: Publisher


def advance(store: Store, settings: CentreSettings, publication: str) -> str:
    """Do the next step of a publication; return what came of it."""
    held = holds.take(store, settings, publication)
    if held is None:
        return "nothing is to be done about it now"
    step = _STEPS[PublicationState(held.row.state)]
    try:
        with held:
            _tried(step, store, settings, held)
    except SupersededError as error:
        return str(error)
    with store.read() as session:
        return session.get_one(Publication, publication).reason


def _tried(step: "_Step", store: Store, settings: CentreSettings, held: Hold) -> None:
    try:
        step(store, settings, held)
    except SupersededError:
        raise
    except LackingError as error:
        held.refuse(str(error))
    except RefusedError as error:  # keys, above all
        held.wait(str(error), LOOK_AGAIN.total_seconds())
    except Gone as error:
        held.refuse(f"{error}; {_AT_A_PERSON}", forget=True)
    except RepositoryError as error:
        if error.final:
            held.refuse(f"{error}; once that is mended, {_AT_A_PERSON}")
        elif error.wait > 0:
            held.wait(str(error), error.wait)
        else:
            held.fail(str(error))
    except DBAPIError as error:  # it was in another's way, or away; its own words show statements
        held.wait(f"the database broke a step off: {error.orig}", SOON.total_seconds())
    except Exception as error:  # noqa: BLE001 - one bad publication never stops the others
        _log.exception("publication set aside", publication=held.row.id)
        held.fail(f"set aside, see the consumer's log: {type(error).__name__}: {error}")


def _prepare(store: Store, settings: CentreSettings, held: Hold) -> None:
    """Have a draft that says what the record shall, with a DOI; then have it filled."""
    with store.read() as session:
        prepared = deposits.prepare(session, settings, held.row, final=False)
    with _opened(store, settings, held) as repository:
        memory = repository.publisher.prepare(prepared.deposit, held.memory)
        there = repository.publisher.is_published(memory)
        lacking = [] if there else _lacking(repository, memory.record, prepared.data)
    if lacking:
        size = sum(one.size for one in lacking)
        held.fill(size, f"{len(lacking):,} files are to be brought into draft {memory.record}")
    else:
        why = prepared.contents.reason or "its data are there"
        held.close(f"no data are to be brought: {why}", whole=prepared.contents.whole)


def _lacking(repository: _Repository, record: str, data: tuple[Wanted, ...]) -> list[Wanted]:
    """Name the data that a draft has not; where no md5 is known an executor has to look."""
    found = DraftFiles(repository.calls, record).held() if data else {}
    return [one for one in data if not one.md5 or not one.is_held(found.get(one.key))]


def _close(store: Store, settings: CentreSettings, held: Hold) -> None:
    """Add the papers, publish, and read back what was published."""
    with store.read() as session:
        now, version = store.now(session), session.get_one(Version, held.row.version_id)
        mirrors = held.row.mirrors or deposits.mirrors(session, version)
    since, whole = held.row.created_at, held.row.whole is True
    lacks = lacks_mirrors(mirrors=bool(mirrors), whole=whole, since=since, now=now)
    if lacks is not None and lacks.until is not None:
        held.wait(lacks.reason, (lacks.until - now).total_seconds())
        return
    held.freeze(mirrors)
    with store.read() as session:
        prepared = deposits.prepare(session, settings, held.row, final=True)
    with _opened(store, settings, held) as repository:
        memory = repository.publisher.prepare(prepared.deposit, held.memory)
        if not repository.publisher.is_published(memory):
            if lacking := _lacking(repository, memory.record, prepared.data):
                reason = f"draft {memory.record} lacks {lacking[0].key!r}: it is filled once more"
                held.fail(reason, PublicationState.WANTED)
                return
            files = DraftFiles(repository.calls, memory.record)
            files.fill(prepared.contents.files, _opener(prepared))
        done = repository.publisher.finish(prepared.deposit, memory)
    held.published(done, prepared.contents.reason)


def _opener(prepared: Prepared) -> Callable[[Wanted], BinaryIO]:
    def opened(one: Wanted) -> BinaryIO:
        return io.BytesIO(prepared.contents.papers[one.key])

    return opened


@contextmanager
def _opened(store: Store, settings: CentreSettings, held: Hold) -> Iterator[_Repository]:
    """Open a repository with the token that publishes there."""
    with store.read() as session:
        url, token = _door(session, settings, held.row.site_id, store)
    with Calls(url, settings.user_agent, token, Patience(turn=held.check)) as calls:
        yield _Repository(calls, Publisher(calls, held.remember))


def _door(session: Session, settings: CentreSettings, site: str, store: Store) -> tuple[str, str]:
    row = session.get_one(Site, site)
    return deposits.place(row).endpoint, grants.publishing(settings, row, store.now(session))


_Step = Callable[[Store, CentreSettings, Hold], None]
_STEPS: dict[PublicationState, _Step] = {
    PublicationState.WANTED: _prepare,
    PublicationState.CLOSING: _close,
}
