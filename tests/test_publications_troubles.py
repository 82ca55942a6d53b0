"""Publications that repositories, people, kills and faults of the centre get in the way of."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlalchemy.exc import OperationalError
from sqlmodel import select

from fleet.control import deposits, records
from fleet.control.holds import Hold, SupersededError
from fleet.planning.publications import TRIES
from fleet.rehearsal.zenodo import TOKEN
from fleet.rehearsal.zenodo.troubles import line
from fleet.store.tables import Replica
from tests.centre_support import Centre
from tests.conftest import NOON
from tests.publications_support import EVERYWHERE, FILL_TOKEN, Office, opened
from tests.zenodo_support import Person


@pytest.fixture
def office(sqlite_centre: Centre) -> Iterator[Office]:
    with opened(sqlite_centre) as made:
        yield made


def test_a_draft_that_somebody_discarded_is_made_anew_when_it_is_asked_for_again(
    office: Office,
) -> None:
    version = office.centre.mirror("a.csv", rule=EVERYWHERE)
    office.describe()
    order = office.order()
    assert Person(office.zenodo).discard(office.row().record).status_code == 204
    office.centre.report(order)
    office.work()
    row = office.row()
    assert (row.state, row.record, row.doi) == ("refused", "", "")
    assert "somebody must have discarded it" in row.reason
    office.publish(version)
    office.work(60)
    assert office.row().state == "published"


def test_a_draft_that_was_filled_after_it_was_given_up_is_published(office: Office) -> None:
    office.centre.mirror("a.csv", rule=EVERYWHERE)
    office.describe()
    for _ in range(office.centre.settings.max_attempts - 1):
        office.centre.report(office.order(), items=(), reason="the disk is full")
        office.centre.advance(100)
    late = office.order()
    for _ in range(4):
        office.centre.advance(office.centre.settings.lease_seconds)
        office.centre.tick()
    assert office.row().state == "refused"
    office.carry_out(late)
    office.work(60)
    assert office.row().state == "published"


def test_tokens_lose_the_blanks_around_them_and_odd_ones_are_told_to_nobody(office: Office) -> None:
    keys = office.centre.folder / "keys.yaml"
    keys.write_text(f'zenodo: {{token: "{FILL_TOKEN}", publish_token: "se cret"}}\n')
    office.centre.mirror("a.csv", rule=EVERYWHERE)
    office.describe()
    office.work()
    assert "zenodo.publish_token" in office.row().reason
    assert "se cret" not in office.row().reason
    keys.write_text(f"zenodo:\n  token: |\n    {TOKEN}\n")
    office.work(600)
    assert office.row().state == "published"


def test_without_keys_a_publication_waits_and_says_which(office: Office) -> None:
    keys = office.centre.folder / "keys.yaml"
    whole = keys.read_text()
    keys.write_text("zenodo: {key_id: a}\n")
    office.centre.mirror("a.csv", rule=EVERYWHERE)
    office.describe()
    office.work()
    row = office.row()
    assert row.state == "wanted"
    assert "zenodo.token: Field required" in row.reason
    keys.write_text(whole)
    office.work(600)
    assert office.row().state == "published"


def test_a_repository_that_asks_to_be_left_alone_is_asked_again_when_it_said(
    office: Office,
) -> None:
    office.centre.mirror("a.csv", rule=EVERYWHERE)
    office.describe()
    office.zenodo.script.add("POST /api/records refuse 429 Retry-After=500 slower")
    while office.row_or_none() is None or "try again in" not in office.row().reason:
        office.round()
    row = office.row()
    assert (row.state, row.attempts) == ("wanted", 0)
    assert row.look_at is not None
    assert 490 < (row.look_at - NOON).total_seconds() <= 500


def test_what_a_repository_refuses_waits_for_a_person(office: Office) -> None:
    version = office.centre.mirror("a.csv", rule=EVERYWHERE)
    office.describe()
    office.zenodo.script.add("POST /api/records refuse 403 no")
    office.work()
    row = office.row()
    assert (row.state, row.asked) == ("refused", None)
    assert "answers HTTP 403" in row.reason
    assert "`fleet publish` asks for it again" in row.reason
    office.publish(version)
    office.work(60)
    assert office.row().state == "published"


def test_a_fault_of_ours_is_tried_again_and_given_up_in_the_end(office: Office) -> None:
    office.centre.mirror("a.csv", rule=EVERYWHERE)
    office.describe()
    office.zenodo.script.add(
        "GET /api/user/records* times 1000 refuse 404 Content-Type=application/json {}"
    )
    while office.row_or_none() is None or not office.row().attempts:
        office.round()
    first = office.row()
    assert (first.state, first.attempts) == ("wanted", 1)
    assert first.look_at == NOON + timedelta(seconds=5)
    for _ in range(TRIES):
        office.centre.advance(7 * 3600)
        office.work()
    row = office.row()
    assert (row.state, row.attempts) == ("refused", TRIES)
    assert row.reason.startswith(f"gave up after {TRIES} attempts: ")


def test_a_step_that_the_database_breaks_off_is_no_failure_of_it_and_shows_no_statement(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    office.centre.mirror("a.csv", rule=EVERYWHERE)
    office.describe()

    def deadlock(*_: object, **__: object) -> None:
        raise OperationalError("SELECT secret", {}, Exception("deadlock detected"))

    with monkeypatch.context() as broken:
        broken.setattr(deposits, "prepare", deadlock)
        while office.row_or_none() is None or "broke" not in office.row().reason:
            office.round()
    row = office.row()
    assert (row.state, row.attempts) == ("wanted", 0)
    assert row.reason == "the database broke a step off: deadlock detected"
    office.work(60)
    assert office.row().state == "published"


def test_who_could_not_hold_a_publication_asks_its_repository_for_nothing(office: Office) -> None:
    office.centre.mirror("a.csv", rule=EVERYWHERE)
    office.describe()
    office.centre.work()
    settings = office.centre.settings.model_copy(update={"lease_seconds": 1e-6})
    told = records.advance(office.centre.store, settings, office.row().id)
    assert "could not be held any longer" in told
    assert not office.zenodo.log
    office.work(60)
    assert office.row().state == "published"


@pytest.mark.parametrize("lost", ["create_lost", "publish_lost", "publish_504_done"])
def test_an_answer_that_is_lost_makes_no_second_record(office: Office, lost: str) -> None:
    office.centre.mirror("a.csv", rule=EVERYWHERE)
    office.describe()
    office.zenodo.script.add(line(lost))
    office.work(120)
    assert office.row().state == "published"
    assert len(office.zenodo.records.records) == len(office.records()) == 1


def test_the_papers_are_the_same_when_a_publication_is_done_again_after_its_answer_was_lost(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    office.centre.mirror("a.csv", rule=EVERYWHERE)
    office.describe()
    _die_once_published(office, monkeypatch)
    with office.centre.store.write() as session:
        for copy in session.exec(select(Replica)).all():
            copy.proved_at = None
    office.work(60)
    assert office.row().state == "published"
    assert len(office.records()) == 1


def test_a_record_that_was_published_is_not_held_against_papers_as_they_would_be_now(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    office.centre.mirror("a.csv", rule=EVERYWHERE)
    office.describe()
    _die_once_published(office, monkeypatch)
    trackers = ("http://tracker.example/announce",)
    office.centre.settings = office.centre.settings.model_copy(update={"trackers": trackers})
    office.work(60)
    assert office.row().state == "published"
    assert len(office.records()) == 1


def _die_once_published(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the record published, and die before that is written down."""
    killed = []

    def die(_hold: Hold, done: object, _without: str) -> None:
        killed.append(done)
        raise SupersededError("killed")

    with monkeypatch.context() as broken:
        broken.setattr(Hold, "published", die)
        office.work(60)
    assert killed
