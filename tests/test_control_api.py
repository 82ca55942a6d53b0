"""The control API: who may claim, renew and report what, over real HTTP."""

import hashlib
from collections.abc import Iterator

import pytest
from sqlmodel import select

from fleet.messages import Heartbeat, Order
from fleet.store.tables import Blob, Observation
from fleet.torrent.parsed import parse
from fleet.torrent.pieces import PieceHasher
from tests.api_support import Api, served
from tests.centre_support import Centre, content

JSON = {"Content-Type": "application/json"}


@pytest.fixture
def api(centre: Centre) -> Iterator[Api]:
    with served(centre) as one:
        yield one


def _claimed(api: Api) -> Order:
    """Mirror one file; claim its ingest over HTTP."""
    api.centre.mirror("a.csv")
    attempt, site = api.announced()
    return _claim(api, attempt, site)


def _claim(api: Api, attempt: str, site: str) -> Order:
    answer = api.ask(site, "POST", f"attempts/{attempt}/claim")
    assert answer.status_code == 200, answer.text
    return Order.model_validate_json(answer.content)


def _other(site: str) -> str:
    return next(one for one in ("toronto", "amsterdam") if one != site)


def test_a_claim_a_heartbeat_and_a_report_carry_a_dataset_from_its_origin_to_a_torrent(
    api: Api,
) -> None:
    order = _claimed(api)
    [item] = order.items
    assert (order.task, order.fence, order.lease_seconds) == ("pull", 1, 10)
    assert (item.path, [source.url for source in item.sources]) == (
        "a.csv",
        ["https://origin.example/a.csv"],
    )
    beat = api.ask(
        order.site,
        "POST",
        f"attempts/{order.attempt}/heartbeat",
        json={"fence": order.fence, "bytes_done": 10, "note": "a.csv"},
    )
    assert beat.json()["action"] == "continue"
    assert beat.json()["lease_seconds"] == 10
    assert _report(api, order) == (200, True)
    sealing = _claim(api, *api.announced())
    outcome = api.centre.outcome(sealing)
    assert outcome.pieces is not None
    assert _report(api, sealing) == (200, True)
    answer = api.get("/api/v1/datasets/data").json()
    assert answer["progress"]["replicas_available"] == 2
    [torrent, _manifest] = answer["torrents"]
    parsed = parse(api.get(f"/api/v1/torrents/{torrent['infohash']}.torrent").content)
    hasher = PieceHasher(parsed.piece_length)
    hasher.update(content("a.csv"))
    assert parsed.pieces == hasher.finish()


def _report(api: Api, order: Order, **changes: object) -> tuple[int, bool]:
    outcome = api.centre.outcome(order).model_copy(update=changes)
    answer = api.ask(
        order.site,
        "POST",
        f"attempts/{order.attempt}/report",
        content=outcome.model_dump_json(),
        headers=JSON,
    )
    return answer.status_code, answer.json().get("applied", False)


def test_only_one_claim_gets_the_order(api: Api) -> None:
    order = _claimed(api)
    again = api.ask(order.site, "POST", f"attempts/{order.attempt}/claim")
    assert again.status_code == 409
    assert again.json()["detail"] == f"attempt {order.attempt} is running, not announced"


def test_what_another_site_was_told_to_do_is_nobody_elses(api: Api) -> None:
    api.centre.mirror("a.csv")
    attempt, site = api.announced()
    other = _other(site)
    assert api.ask(other, "POST", f"attempts/{attempt}/claim").status_code == 404
    order = _claim(api, attempt, site)
    beat = Heartbeat(fence=order.fence).model_dump()
    answer = api.ask(other, "POST", f"attempts/{attempt}/heartbeat", json=beat)
    assert answer.status_code == 404
    assert answer.json()["detail"] == f"site {other} has no attempt {attempt}"


def test_nobody_reports_for_another_site_or_another_attempt(api: Api) -> None:
    order = _claimed(api)
    body = api.centre.outcome(order).model_dump_json()
    path = f"attempts/{order.attempt}/report"
    for site, where in ((_other(order.site), path), (order.site, "attempts/at-other/report")):
        answer = api.ask(site, "POST", where, content=body, headers=JSON)
        assert answer.status_code == 422
        assert "the outcome is not of attempt" in answer.json()["detail"]
    assert _report(api, order, site=_other(order.site)) == (422, False)
    assert [one.state for one in api.centre.transfers()] == ["running"]


def test_an_attempt_that_never_was_is_not_found(api: Api) -> None:
    assert api.ask("toronto", "POST", "attempts/at-none/claim").status_code == 404
    answer = api.ask("toronto", "POST", "attempts/at-none/heartbeat", json={"fence": 1})
    assert answer.status_code == 404


def test_a_report_sent_again_is_harmless(api: Api) -> None:
    order = _claimed(api)
    assert _report(api, order) == (200, True)
    before = api.centre.transfers()
    assert _report(api, order) == (200, True)
    assert api.centre.transfers() == before


def test_a_superseded_worker_is_told_to_stop_and_its_outcome_is_kept(api: Api) -> None:
    order = _claimed(api)
    api.centre.advance(11)
    _claim(api, *api.announced())
    beat = {"fence": order.fence, "bytes_done": 1}
    answer = api.ask(order.site, "POST", f"attempts/{order.attempt}/heartbeat", json=beat)
    assert answer.json()["action"] == "stop"
    assert "superseded" in answer.json()["reason"]
    assert _report(api, order) == (200, False)
    with api.centre.store.read() as session:
        kinds = session.exec(select(Observation.kind)).all()
    assert kinds == ["superseded_outcome"]


def test_a_fence_that_was_never_given_is_refused(api: Api) -> None:
    order = _claimed(api)
    assert _report(api, order, fence=order.fence + 1) == (409, False)


def test_an_outcome_is_refused_until_its_blob_was_sent(api: Api) -> None:
    order = _claimed(api)
    assert _report(api, order) == (200, True)
    sealing = _claim(api, *api.announced())
    hasher = PieceHasher(sealing.piece_length or 0)
    hasher.update(content("a.csv"))
    pieces = hasher.finish()
    name = hashlib.sha256(pieces).hexdigest()
    outcome = api.centre.outcome(sealing)
    assert outcome.pieces is not None
    assert outcome.pieces.sha256 == name
    with api.centre.store.write() as session:
        session.delete(session.get_one(Blob, name))
    assert _report_of(api, sealing, outcome.model_dump_json()) == (
        409,
        f"send blob {name} before the outcome that names it",
    )
    assert api.ask(sealing.site, "PUT", f"blobs/{name}", content=pieces).status_code == 204
    assert _report_of(api, sealing, outcome.model_dump_json()) == (200, "applied")


def _report_of(api: Api, order: Order, body: str) -> tuple[int, str]:
    path = f"attempts/{order.attempt}/report"
    answer = api.ask(order.site, "POST", path, content=body, headers=JSON)
    return answer.status_code, answer.json().get("detail") or answer.json()["reason"]
