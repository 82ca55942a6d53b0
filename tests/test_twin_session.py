"""The twin's only session answers from what it knows as the database would."""

from collections.abc import Iterator

import pytest
from sqlalchemy import bindparam
from sqlmodel import Session, col, select

from fleet.planning.states import VersionState
from fleet.store import loads, offers
from fleet.store.tables import Dataset, Site, Transfer, Version
from fleet.twin.onestore import OneStore
from fleet.twin.policy import DEFAULT
from fleet.twin.twin import START, twin

SILENT = select(Site.id).where(col(Site.silent).is_(True))
AT = select(Site.id).where(Site.id == bindparam("site"), Site.country == bindparam("country"))
AMONG = select(Site.id).where(
    col(Site.id).in_(bindparam("sites", expanding=True)),
    col(Site.country).in_(bindparam("countries", expanding=True)),
)


@pytest.fixture
def store() -> Iterator[OneStore]:
    with twin(DEFAULT, seed=1, days=1) as one:
        one.fill(0, 3)
        yield one.store


def silence(session: Session) -> None:
    for site in session.exec(select(Site)).all():
        site.silent = True


@pytest.mark.parametrize("written", [True, False])
def test_notes_that_triggers_make_of_a_change_are_seen(store: OneStore, written: bool) -> None:
    with store.write() as session:
        session.add(Dataset(id="roads", created_at=START))
        for _ in range(3):
            assert offers.changes(session) == {}
            assert loads.loads(session) == {}
        row = Version(dataset_id="roads", label="1", state=VersionState.PUBLISHED, created_at=START)
        session.add(row)
        site = "toronto"
        session.add(
            Transfer(kind="probe", target_id=site, executor_id=site, size=10**9, created_at=START)
        )
        if written:
            session.flush()
        assert offers.changes(session) == {row.id: 1}
        assert loads.loads(session)[site].queued == 10**9


def test_what_was_answered_within_a_savepoint_is_not_known_once_that_is_undone(
    store: OneStore,
) -> None:
    with store.write() as session:
        for _ in range(3):
            assert session.exec(SILENT).all() == []
        savepoint = session.begin_nested()
        silence(session)
        assert len(session.exec(SILENT).all()) == 3
        savepoint.rollback()
        assert session.exec(SILENT).all() == []


def test_what_was_answered_is_not_known_once_the_unit_of_work_is_undone(store: OneStore) -> None:
    with store.write() as session:
        for _ in range(3):
            assert session.exec(SILENT).all() == []
        silence(session)
        assert len(session.exec(SILENT).all()) == 3
        session.rollback()
        assert session.exec(SILENT).all() == []


def test_parameters_are_known_by_their_names(store: OneStore) -> None:
    with store.read() as session:
        for _ in range(3):
            params = {"site": "toronto", "country": "CA"}
            assert session.exec(AT, params=params).all() == ["toronto"]
        crossed = {"country": "toronto", "site": "CA"}
        assert session.exec(AT, params=crossed).all() == []


def test_lists_are_laid_out_by_their_names(store: OneStore) -> None:
    with store.read() as session:
        for _ in range(3):
            lists = {"sites": ["toronto", "sydney"], "countries": ["CA"]}
            assert session.exec(AMONG, params=lists).all() == ["toronto"]
        lists = {"countries": ["CA", "AU"], "sites": ["sydney"]}
        assert session.exec(AMONG, params=lists).all() == ["sydney"]
