"""A site's own client, spool and lease against a real centre that comes and goes."""

import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from sqlmodel import select
from structlog.testing import capture_logs

from fleet.control import sites
from fleet.control.sites import BudgetSpec
from fleet.messages import Budget, Heartbeat, Order
from fleet.settings import CentreSettings, SiteSettings
from fleet.store.clock import VirtualClock
from fleet.store.database import Store
from fleet.store.tables import Attempt, Blob
from tests.api_support import Api, served, three_sites
from tests.centre_support import content
from tests.databases import lacking
from workers.centre import Centre, CentreAway, CentreRefused
from workers.held import HeldLease
from workers.lease import Stopped
from workers.spool import Spool
from workers.uplinks import Pulled

PATIENCE = 10.0
LEASE = 0.15  # seconds: a heartbeat each twentieth


class Post:
    """A site, and a centre that can be taken away and brought back at the same address."""

    def __init__(self, store: Store, folder: Path) -> None:
        self.folder = folder
        # Every file is a shard by itself, so that its outcome has a blob.
        self.centre = three_sites(store, folder, CentreSettings(lease_seconds=LEASE, alone_from=1))
        self._stack = ExitStack()
        self.api = self.come_back()
        self.spool = Spool(folder / "spool")

    def go_away(self) -> None:
        self._stack.close()

    def come_back(self) -> Api:
        port = int(self.api.url.rpartition(":")[2]) if hasattr(self, "api") else 0
        return self._stack.enter_context(served(self.centre, port=port))

    def order(self) -> Order:
        """Mirror one file; claim its ingest."""
        self.centre.mirror("a.csv")
        return self.centre.claim(*self.api.announced())

    def client(self, site: str) -> Centre:
        return self.client_with(sites.make_token(self.centre.store, site), site)

    def client_with(self, token: str, site: str = "toronto") -> Centre:
        settings = SiteSettings(
            site=site, site_token=SecretStr(token), centre_url=self.api.url, home=self.folder
        )
        return Centre(settings, timeout=PATIENCE)

    def attempt(self, order: Order) -> Attempt:
        with self.centre.store.read() as session:
            return session.get_one(Attempt, order.attempt)

    def spooled(self) -> list[str]:
        """The names of all files in the spool, its locks apart."""
        files = (path for path in self.spool.folder.rglob("*") if path.is_file())
        return sorted(path.name for path in files if not path.name.startswith("."))


@pytest.fixture
def post(sqlite_store: Store, tmp_path: Path) -> Iterator[Post]:
    made = Post(sqlite_store, tmp_path)
    yield made
    made.go_away()


def _until(condition: Callable[[], Any]) -> None:
    never, deadline = threading.Event(), time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        never.wait(0.005)


def _pieces() -> dict[str, bytes]:
    """The piece hashes of ``a.csv``, which is smaller than one piece."""
    pieces = hashlib.sha1(content("a.csv")).digest()
    return {hashlib.sha256(pieces).hexdigest(): pieces}


def test_a_claim_brings_the_order_and_a_second_one_the_reason_for_none(post: Post) -> None:
    post.centre.mirror("a.csv")
    attempt, site = post.api.announced()
    with post.client(site) as client:
        order = client.claim(attempt)
        assert (order.attempt, order.site, order.items[0].path) == (attempt, site, "a.csv")
        with pytest.raises(CentreRefused, match=r"409.*is running, not announced"):
            client.claim(attempt)
        assert client.heartbeat(attempt, Heartbeat(fence=order.fence)).action == "continue"


def test_to_a_wrong_token_as_when_it_is_dead_the_centre_is_away(post: Post) -> None:
    with post.client_with("wrong") as client:
        with pytest.raises(CentreAway, match=r"403.*run `fleet site token toronto`"):
            client.claim("at-1")
        post.go_away()
        with pytest.raises(CentreAway, match=post.api.url):
            client.claim("at-1")


def test_an_outcome_finished_while_the_centre_is_away_is_accepted_when_it_is_back(
    post: Post, clock: VirtualClock
) -> None:
    order = post.order()
    outcome = post.centre.outcome(order)
    with post.centre.store.write() as session:
        session.delete(session.exec(select(Blob)).one())  # only the spool shall bring it
    with post.client(order.site) as client:
        post.go_away()
        clock.advance(3600)
        post.spool.put(outcome, _pieces())
        with pytest.raises(CentreAway):
            post.spool.flush(client)
        assert post.spooled() == sorted([f"{order.attempt}.json", *_pieces()])
        post.come_back()
        assert post.spool.flush(client) == 1
        assert post.spool.flush(client) == 0
    assert post.spooled() == []
    assert [one.state for one in post.centre.transfers(kind="ingest")] == ["done"]
    post.centre.work()
    assert all(states == ["available"] for states in post.centre.replicas().values())


def test_an_outcome_that_is_refused_is_kept_aside_with_its_reason_and_stops_no_other(
    post: Post,
) -> None:
    order = post.order()
    outcome = post.centre.outcome(order)
    post.spool.put(outcome.model_copy(update={"attempt": "at-never"}), _pieces())
    post.spool.put(outcome, _pieces())
    with post.client(order.site) as client:
        assert post.spool.flush(client) == 1
    aside = post.spool.folder / "refused"
    assert post.spooled() == sorted(["at-never.json", "at-never.reason", *_pieces()])
    note = json.loads((aside / "at-never.reason").read_text())
    assert note["attempt"] == "at-never"
    assert note["reason"].startswith("404: ")
    assert "has no attempt at-never" in note["reason"]
    assert json.loads((aside / "at-never.json").read_text())["site"] == order.site


def test_an_outcome_that_was_taken_before_a_crash_is_sent_again_without_harm(post: Post) -> None:
    order = post.order()
    outcome = post.centre.outcome(order)
    with post.client(order.site) as client:
        for _ in range(2):
            post.spool.put(outcome, _pieces())
            assert post.spool.flush(client) == 1
    assert post.spooled() == []
    assert [one.state for one in post.centre.transfers(kind="ingest")] == ["done"]


def test_a_centre_that_fails_is_away_and_the_outcome_waits(post: Post) -> None:
    order = post.order()
    post.spool.put(post.centre.outcome(order), _pieces())
    with (
        lacking(post.centre.store, "attempt"),
        post.client(order.site) as client,
        pytest.raises(CentreAway, match="answered 500"),
    ):
        post.spool.flush(client)
    with post.client(order.site) as client:
        assert post.spool.flush(client) == 1


def test_a_held_lease_is_renewed_while_the_work_goes_on(post: Post, clock: VirtualClock) -> None:
    order = post.order()
    with post.client(order.site) as client, HeldLease(order, client) as lease:
        lease.advance(7)
        _until(lambda: post.attempt(order).bytes_done == 7)
        before = post.attempt(order).lease_until
        assert before is not None
        clock.advance(100)
        lease.advance(5)
        _until(lambda: (post.attempt(order).lease_until or before) > before)
        _until(lambda: post.attempt(order).bytes_done == 12)
        lease.check()
        assert not lease.paused


def test_a_held_lease_brings_the_next_slice_of_budget(post: Post) -> None:
    order = post.order()
    with post.client(order.site) as client, HeldLease(order, client) as lease:
        assert lease.budget == Budget()
        limit = BudgetSpec(streams=2, bytes_per_second=4000)
        post.centre.apply_sites(order.site, budget=limit, slots=4)
        _until(lambda: lease.budget == Budget(streams=2, bytes_per_second=1000))


def test_a_held_lease_pauses_outside_quiet_hours_and_goes_on_within_them(post: Post) -> None:
    order = post.order()
    at_night = [{"timezone": "UTC", "opens": "00:00", "closes": "06:00"}]  # it is noon
    with post.client(order.site) as client, HeldLease(order, client) as lease:
        post.centre.apply_sites(order.site, windows=at_night)
        _until(lambda: lease.paused)
        lease.check()
        post.centre.apply_sites(order.site)
        _until(lambda: not lease.paused)


def test_what_a_pull_received_is_written_down_for_whoever_counts_traffic(post: Post) -> None:
    order = post.order()
    pulled = Pulled(post.folder / "pulled")
    with (
        post.client(order.site) as client,
        HeldLease(order, client, pulled=pulled.folder) as lease,
    ):
        lease.advance(7)
        _until(lambda: post.attempt(order).bytes_done == 7)
        lease.advance(5)
    assert pulled.since() == 12


def test_work_that_was_superseded_is_stopped(post: Post, clock: VirtualClock) -> None:
    order = post.order()
    clock.advance(1)
    again = post.centre.claim(*post.api.announced())
    assert again.fence == order.fence + 1
    with post.client(order.site) as client, HeldLease(order, client) as lease:
        _until(lambda: _stopped(lease))
        with pytest.raises(Stopped, match="superseded"):
            lease.check()


def test_work_that_the_centre_does_not_know_is_stopped(post: Post) -> None:
    order = post.order().model_copy(update={"attempt": "at-never"})
    with post.client(order.site) as client, HeldLease(order, client) as lease:
        _until(lambda: _stopped(lease))
        with pytest.raises(Stopped, match="has no attempt at-never"):
            lease.check()


def test_work_goes_on_while_the_centre_is_away_and_is_renewed_when_it_is_back(
    post: Post,
) -> None:
    order = post.order()
    with post.client(order.site) as client, HeldLease(order, client) as lease:
        post.go_away()
        with capture_logs() as logs:
            _until(lambda: sum(log["event"] == "centre away, going on" for log in logs) > 1)
        lease.check()
        lease.advance(9)
        post.come_back()
        _until(lambda: post.attempt(order).bytes_done == 9)
        lease.check()


def _stopped(lease: HeldLease) -> bool:
    try:
        lease.check()
    except Stopped:
        return True
    return False
