"""The task that fills a record's draft: through bounded scratch, and with digests of every file."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from celery import Celery

from fleet.messages import Grant, ItemResult, Order
from fleet.places import RecordsPlace
from fleet.rehearsal.zenodo import TOKEN, Zenodo
from tests.fault_server import FaultServer
from tests.publish_support import bytes_of
from tests.pull_support import Site, item, noise, order
from tests.seeder_support import TOKEN as SITE_TOKEN
from tests.seeder_support import Centre
from tests.zenodo_support import Person
from workers.tasks import register

SCRATCH = 250_000
FILES = {f"maps/{number} of 6.bin": noise(100_000 + number, seed=number) for number in range(6)}


@pytest.fixture
def zenodo(tmp_path: Path) -> Iterator[Zenodo]:
    with Zenodo(tmp_path / "zenodo") as running:
        yield running


@pytest.fixture
def centre() -> Iterator[Centre]:
    running = Centre()
    try:
        yield running
    finally:
        running.close()


@pytest.fixture
def filling(zenodo: Zenodo, server: FaultServer) -> Order:
    """An order to fill a draft with files of which the ledger has no md5."""
    place = RecordsPlace(endpoint=zenodo.url, record=Person(zenodo).create())
    grant = Grant(site="zenodo", place=place, key_id="", secret="", token=TOKEN)
    items = [item(path, server.serve(path, body), body=body) for path, body in FILES.items()]
    return order(*items, task="publish", grant=grant)


def publish(given: Order, centre: Centre, site: Site) -> tuple[ItemResult, ...]:
    """Have the task do it, and give what it reports."""
    centre.orders["a1"] = given
    app = Celery("site", set_as_current=False)
    settings = site.settings(
        centre_url=centre.url, site_token=SITE_TOKEN, scratch_bytes=SCRATCH, bulk_slots=1
    )
    register(app, settings)
    app.tasks["publish"]("a1")
    return centre.outcomes[-1].items


def test_a_draft_is_filled_and_the_digests_of_each_file_are_reported(
    filling: Order, zenodo: Zenodo, centre: Centre, site: Site
) -> None:
    results = publish(filling, centre, site)
    for result, body in zip(results, FILES.values(), strict=True):
        assert (result.ok, result.size) == (True, len(body)), result.reason
        assert result.sha256 == hashlib.sha256(body).hexdigest()
        assert result.md5 == hashlib.md5(body).hexdigest()
    assert filling.grant is not None
    assert isinstance(filling.grant.place, RecordsPlace)
    held = zenodo.records.records[filling.grant.place.record]
    assert bytes_of(held) == FILES
    assert not held.published
    assert TOKEN not in centre.outcomes[-1].model_dump_json()


def test_what_is_in_the_draft_already_is_neither_pulled_nor_sent_again(
    filling: Order, zenodo: Zenodo, centre: Centre, site: Site, server: FaultServer
) -> None:
    first = publish(filling, centre, site)
    known = [
        one.model_copy(update={"md5": told.md5})
        for one, told in zip(filling.items, first, strict=True)
    ]
    before = [len(server.asked(path)) for path in FILES]
    sent = sum(one.method == "PUT" for one in zenodo.log)

    again = publish(filling.model_copy(update={"items": tuple(known)}), centre, site)

    assert [one.model_copy(update={"source": None}) for one in first] == list(again)
    assert [len(server.asked(path)) for path in FILES] == before
    assert sum(one.method == "PUT" for one in zenodo.log) == sent


def test_a_published_record_says_why_nothing_more_goes_into_it(
    filling: Order, zenodo: Zenodo, centre: Centre, site: Site
) -> None:
    assert filling.grant is not None
    assert isinstance(filling.grant.place, RecordsPlace)
    me = Person(zenodo)
    me.upload(filling.grant.place.record, "other.csv", b"x")
    me.publish(filling.grant.place.record)
    results = publish(filling, centre, site)
    assert {(one.ok, one.final) for one in results} == {(False, True)}
    assert "is published, and never changes" in results[0].reason
