"""Publications, from a rule or a wish to a record with a DOI whose data count as copies."""

import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError
from sqlmodel import select

from fleet.control import deposits, holds, records, sites, suspensions
from fleet.control.errors import NotFoundError, RefusedError
from fleet.control.holds import Hold, SupersededError
from fleet.control.mirror import RuleSpec
from fleet.control.sites import SiteSpec
from fleet.places import RecordsPlace
from fleet.planning.publications import TRIES
from fleet.rehearsal.zenodo import TOKEN, Zenodo
from fleet.rehearsal.zenodo.troubles import line
from fleet.repositories import Memory
from fleet.store.tables import Artifact, Replica, Version
from tests.centre_support import Centre, content
from tests.conftest import NOON
from tests.publications_support import EVERYWHERE, FILL_TOKEN, Office
from tests.publish_support import bytes_of
from tests.zenodo_support import Person, md5


@pytest.fixture
def office(centre: Centre, tmp_path: Path) -> Iterator[Office]:
    home = tmp_path / "zenodo"
    home.mkdir()
    with Zenodo(home, tokens={TOKEN: "1", FILL_TOKEN: "1"}) as zenodo:
        made = Office(centre, zenodo)
        made.open()
        yield made


def test_a_rule_that_selects_a_repository_has_the_version_published_there(office: Office) -> None:
    version = office.centre.mirror("a.csv", "b.csv", rule=EVERYWHERE)
    office.work()
    assert "zenodo takes whole versions only" in office.told(version)
    office.describe()
    office.work(60)

    row, (record,) = office.row(), office.records()
    assert row.state == "published"
    assert row.reason == f"published as {office.zenodo.url}/records/{record.id}"
    assert office.version(version).doi == row.doi == record.doi
    held = bytes_of(record)
    papers = {"SHA256SUMS", "MIRRORS.txt", "manifest.json", "data.torrent"}
    assert held.keys() == {"a.csv", "b.csv"} | papers
    assert held["b.csv"] == content("b.csv")
    assert b"http://toronto.example/data/" in held["MIRRORS.txt"]
    assert b"http://toronto.example/" in held["data.torrent"]
    assert office.centre.replicas()["zenodo"] == ["available"]
    assert "takes whole versions only" not in office.told(version)
    assert not office.centre.transfers(kind="copy", target_id="zenodo")
    assert office.centre.transfers(kind="probe", target_id="zenodo")


def test_an_executor_is_told_which_draft_to_fill_and_given_no_more_than_it_needs(
    office: Office,
) -> None:
    office.centre.mirror("a.csv", "b.csv", rule=EVERYWHERE)
    office.describe()
    order = office.order()
    assert order.grant is not None
    assert (order.task, order.shard, order.digests) == ("publish", None, ("sha256", "md5"))
    assert (order.grant.token, order.grant.key_id) == (FILL_TOKEN, "")
    assert order.grant.place == RecordsPlace(endpoint=office.zenodo.url, record=office.row().record)
    assert [(one.path, one.sha256 is not None) for one in order.items] == [
        ("a.csv", True),
        ("b.csv", True),
    ]
    assert all(one.sources for one in order.items)


def test_a_version_that_is_too_large_for_a_record_has_its_papers_there(office: Office) -> None:
    paths = [f"{number}.csv" for number in range(101)]
    version = office.centre.mirror(*paths, rule=EVERYWHERE)
    office.describe()
    office.work(60)
    row, (record,) = office.row(), office.records()
    assert (row.state, row.whole, office.version(version).doi) == ("published", False, record.doi)
    papers = {"SHA256SUMS", "MIRRORS.txt", "manifest.json", "data.torrent"}
    assert bytes_of(record).keys() == papers
    assert ", without the data: there are 105 files, and a record takes 100" in row.reason
    assert "zenodo" not in office.centre.replicas()
    assert not office.centre.transfers(kind="publish")


def test_papers_have_the_manifest_though_no_md5_of_the_data_is_known(office: Office) -> None:
    paths = [f"{number}.csv" for number in range(101)]
    version = office.centre.mirror(*paths, rule=RuleSpec(selector="kind=node"))
    office.describe()
    office.publish(version, at="zenodo")
    office.work(60)
    (record,) = office.records()
    papers = {"SHA256SUMS", "MIRRORS.txt", "manifest.json", "data.torrent"}
    assert bytes_of(record).keys() == papers


def test_papers_without_data_wait_until_they_can_name_a_mirror(office: Office) -> None:
    for name in ("toronto", "amsterdam", "netcup"):
        office.centre.apply_sites(name, trusted=True, read_url="")
    office.centre.mirror(*(f"{number}.csv" for number in range(101)), rule=EVERYWHERE)
    office.describe()
    office.work(2000)
    assert "until a site has read a piece of it at another" in office.row().reason
    assert not office.records()


def test_data_wait_a_while_for_a_mirror_to_name_and_are_published_without(office: Office) -> None:
    for name in ("toronto", "amsterdam", "netcup"):
        office.centre.apply_sites(name, trusted=True, read_url="")
    office.centre.mirror("a.csv", rule=EVERYWHERE)
    office.describe()
    office.work(600)
    assert "but no longer than 12:15 UTC" in office.row().reason
    office.work(600)
    (record,) = office.records()
    assert "MIRRORS.txt" not in record.files


def test_what_nobody_said_is_asked_for_and_the_publication_goes_on_once_it_is_said(
    office: Office,
) -> None:
    office.centre.mirror("a.csv", rule=EVERYWHERE)
    office.work()
    row = office.row()
    assert (row.state, row.look_at) == ("refused", None)
    assert row.reason == (
        "a record cannot do without title, summary, creators, publisher, licence: write that into "
        "a file and say `fleet dataset describe data FILE`"
    )
    assert not office.zenodo.records.records
    office.describe()
    office.work(60)
    assert office.row().state == "published"


def test_the_next_version_is_one_of_the_same_concept(office: Office) -> None:
    for paths in (("a.csv",), ("a.csv", "b.csv")):
        office.centre.mirror(*paths, rule=EVERYWHERE)
        office.describe()
        office.work(60)
    one, two = office.records()
    assert (one.concept, one.index) == (two.concept, 1)
    assert (two.index, len({one.doi, two.doi})) == (2, 2)
    related = two.metadata["related_identifiers"]
    assert {
        "identifier": one.doi,
        "scheme": "doi",
        "relation_type": {"id": "isnewversionof"},
    } in related


def test_a_doi_that_a_version_came_with_is_kept_and_its_record_names_it(office: Office) -> None:
    version = office.centre.mirror("a.csv", rule=EVERYWHERE)
    with office.centre.store.write() as session:
        session.get_one(Version, version).doi = "10.5281/zenodo.42"
    office.describe()
    office.work(60)
    (record,) = office.records()
    assert office.version(version).doi == "10.5281/zenodo.42"
    assert office.row().doi == record.doi
    same = {"identifier": "10.5281/zenodo.42", "scheme": "doi"}
    assert (
        same | {"relation_type": {"id": "isidenticalto"}} in record.metadata["related_identifiers"]
    )


def test_md5s_that_the_ledger_lacked_are_learned_as_the_files_are_brought(office: Office) -> None:
    version = office.centre.mirror("a.csv", rule=RuleSpec(copies=1, selector="id=toronto"))
    office.work()
    with office.centre.store.write() as session:
        for one in session.exec(select(Artifact)).all():
            assert one.md5 is None
    office.describe()
    office.publish(version, at="zenodo")
    office.work(1200)
    assert office.row().state == "published"
    with office.centre.store.read() as session:
        found = session.exec(select(Artifact.md5).where(Artifact.path == "a.csv")).all()
    assert found == [md5(content("a.csv"))]
    assert office.centre.replicas()["zenodo"] == ["available"]  # though the rule asks for one copy


def test_an_md5_that_contradicts_the_ledger_is_learned_by_nobody(office: Office) -> None:
    office.centre.mirror("a.csv", rule=EVERYWHERE)
    office.describe()
    order = office.order()
    (item,) = office.centre.outcome(order).items
    office.centre.report(order, items=(item.model_copy(update={"md5": "0" * 32}),))
    (transfer,) = office.centre.transfers(kind="publish")
    assert "0" * 32 in transfer.reason
    with office.centre.store.read() as session:
        found = session.exec(select(Artifact.md5).where(Artifact.path == "a.csv")).all()
    assert found == [md5(content("a.csv"))]


def test_without_a_rule_that_says_where_a_repository_has_to_be_named(office: Office) -> None:
    version = office.centre.mirror("a.csv", rule=RuleSpec(copies=1, selector="kind=node"))
    office.work()
    with pytest.raises(RefusedError, match=r"selects no repository: name one with --at \(zenodo\)"):
        office.publish(version)
    with pytest.raises(NotFoundError, match="there is no repository 'toronto': give one of zenodo"):
        office.publish(version, at="toronto")
    with pytest.raises(NotFoundError, match="there is no version 'none'"):
        office.publish("none")
    office.publish("data", at="zenodo")
    assert office.row().version_id == version


def test_a_version_that_is_still_being_brought_in_is_published_once_it_is_complete(
    office: Office,
) -> None:
    version = office.centre.mirror("a.csv", rule=RuleSpec(copies=1, selector="kind=node"))
    office.publish(version, at="zenodo")
    office.describe()
    office.round()
    assert "is not published yet: not all its files are known" in office.told(version)
    office.work(60)
    assert office.row().state == "published"


def test_a_superseded_version_is_begun_only_where_a_person_asks(office: Office) -> None:
    one = office.centre.mirror("a.csv", rule=EVERYWHERE)
    office.work()
    two = office.centre.mirror("a.csv", "b.csv", rule=EVERYWHERE)
    office.work()
    office.describe()
    office.work(60)
    assert [(row.version_id, row.state) for row in office.rows()] == [(two, "published")]
    office.publish(one)
    office.work(60)
    assert {row.version_id: row.state for row in office.rows()} == {
        one: "published",
        two: "published",
    }
    assert len({record.concept for record in office.records()}) == 1


def test_a_version_waits_while_the_repository_has_a_draft_of_another(office: Office) -> None:
    office.centre.mirror("a.csv", rule=EVERYWHERE)
    office.describe()
    order = office.order()
    two = office.centre.mirror("a.csv", "b.csv", rule=EVERYWHERE)
    for _ in range(8):
        office.round()
    assert "zenodo has a draft of version" in office.told(two)
    office.carry_out(order)
    office.work(600)
    assert [row.state for row in office.rows()] == ["published", "published"]
    assert len({record.concept for record in office.records()}) == 1


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


def test_what_vanished_from_a_draft_is_brought_once_more(office: Office) -> None:
    office.centre.mirror("a.csv", rule=EVERYWHERE)
    office.describe()
    order = office.order()
    office.carry_out(order)
    assert Person(office.zenodo).delete(office.row().record, "a.csv").status_code == 204
    office.work(120)
    assert office.row().state == "published"
    assert len(office.centre.transfers(kind="publish")) == 2
    assert len(office.zenodo.records.records) == 1


def test_a_filling_that_is_given_up_waits_for_a_person_and_begins_anew_when_asked(
    office: Office,
) -> None:
    version = office.centre.mirror("a.csv", rule=EVERYWHERE)
    office.describe()
    for _ in range(office.centre.settings.max_attempts):
        office.centre.report(office.order(), items=(), reason="the disk is full")
        office.centre.advance(100)
    office.work()
    assert office.row().state == "refused"
    assert "the disk is full" in office.row().reason
    (transfer,) = office.centre.transfers(kind="publish")
    with pytest.raises(RefusedError, match="ask again for the whole with `fleet publish"):
        suspensions.retry(office.centre.store, transfer.id)
    office.publish(version)
    office.work(60)
    assert office.row().state == "published"
    assert [one.state for one in office.centre.transfers(kind="publish")] == ["cancelled", "done"]


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


def test_a_repository_that_is_retired_publishes_nothing_more(office: Office) -> None:
    office.centre.mirror("a.csv", rule=EVERYWHERE)
    office.work()
    spec = {"id": "zenodo", "kind": "repository", "driver": "zenodo", "retired": "lost"}
    spec["store"] = {"endpoint": office.zenodo.url}
    sites.apply(office.centre.store, (SiteSpec.model_validate(spec),))
    office.describe()
    office.work(60)
    assert office.rows() == []


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


def test_one_that_was_superseded_may_write_nothing_down_and_asks_for_nothing_more(
    office: Office,
) -> None:
    office.centre.mirror("a.csv", rule=EVERYWHERE)
    office.describe()
    office.centre.work()
    (row,) = office.rows()
    first = holds.take(office.centre.store, office.centre.settings, row.id)
    assert first is not None
    assert holds.take(office.centre.store, office.centre.settings, row.id) is None
    office.centre.advance(office.centre.settings.lease_seconds + 1)
    second = holds.take(office.centre.store, office.centre.settings, row.id)
    assert second is not None
    with pytest.raises(SupersededError):
        first.remember(Memory(record="1"))
    with first, pytest.raises(SupersededError):
        first.close("", whole=True)
    second.remember(Memory(asked=1.0))
    assert office.row().asked == 1.0


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


def test_a_hold_is_renewed_while_its_step_lasts(office: Office) -> None:
    office.centre.mirror("a.csv", rule=EVERYWHERE)
    office.describe()
    office.centre.work()
    settings = office.centre.settings.model_copy(update={"lease_seconds": 0.3})
    held = holds.take(office.centre.store, settings, office.row().id)
    assert held is not None
    before = office.row().held_until
    with held:
        office.centre.advance(100)
        until = time.monotonic() + 20
        while office.row().held_until == before:
            assert time.monotonic() < until


@pytest.mark.parametrize("lost", ["create_lost", "publish_lost", "publish_504_done"])
def test_an_answer_that_is_lost_makes_no_second_record(office: Office, lost: str) -> None:
    office.centre.mirror("a.csv", rule=EVERYWHERE)
    office.describe()
    office.zenodo.script.add(line(lost))
    office.work(120)
    assert office.row().state == "published"
    assert len(office.zenodo.records.records) == len(office.records()) == 1


def test_the_papers_are_the_same_when_a_publication_is_done_again_after_its_answer_was_lost(
    office: Office,
) -> None:
    office.centre.mirror("a.csv", rule=EVERYWHERE)
    office.describe()
    taken = []

    def die(_hold: Hold, done: object, _without: str) -> None:
        taken.append(done)
        raise SupersededError("killed")

    published = Hold.published
    Hold.published = die
    office.work(60)
    Hold.published = published
    assert taken
    with office.centre.store.write() as session:
        for copy in session.exec(select(Replica)).all():
            copy.proved_at = None
    office.work(60)
    assert office.row().state == "published"
    assert len(office.records()) == 1


def test_a_record_that_was_published_is_not_held_against_papers_as_they_would_be_now(
    office: Office,
) -> None:
    office.centre.mirror("a.csv", rule=EVERYWHERE)
    office.describe()
    published, killed = Hold.published, []

    def die(_hold: Hold, done: object, _without: str) -> None:
        killed.append(done)
        raise SupersededError("killed")

    Hold.published = die
    office.work(60)
    Hold.published = published
    assert killed
    trackers = ("http://tracker.example/announce",)
    office.centre.settings = office.centre.settings.model_copy(update={"trackers": trackers})
    office.work(60)
    assert office.row().state == "published"
    assert len(office.records()) == 1
