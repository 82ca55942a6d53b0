"""Repairs: those with the fewest copies first, and none that writes to what may be the last."""

from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from fleet.control import replicas, suspensions
from fleet.control.errors import RefusedError
from fleet.messages import ItemResult, Order
from fleet.planning.repair import URGENT
from fleet.store import holdings, locking
from fleet.store.clock import VirtualClock
from fleet.store.columns import ids_from
from fleet.store.database import Store
from fleet.store.tables import Replica, Shard, Transfer
from tests.centre_support import MOMENT, Centre
from tests.databases import Databases, until_blocked
from tests.holdings_support import doubt, hold, states

NIGHT = [{"timezone": "UTC", "opens": "00:00", "closes": "06:00"}]
SITES = ("toronto", "amsterdam", "netcup")


def _lose(centre: Centre, site: str, shards: list[str]) -> None:
    """Have copies at a site found corrupt by a verify."""
    with centre.store.write() as session:
        for shard in shards:
            item = ItemResult(artifact="ar", ok=False, reason="rot", fault="corrupt")
            now = centre.store.now(session)
            replicas.lose(session, shard, site, [item], "its bytes rot", now)


def test_the_shard_with_the_fewest_good_copies_is_repaired_first(centre: Centre) -> None:
    two, one = hold(centre, 2, SITES, copies=3, least=3)
    _lose(centre, "toronto", [two, one])
    _lose(centre, "amsterdam", [one])
    centre.tick()
    order = {
        transfer.shard_id: transfer.priority
        for transfer in centre.transfers(kind="copy", target_id="toronto")
    }
    assert order[one] > order[two] >= URGENT
    reason = centre.transfers(kind="copy", shard_id=one)[0].reason
    assert "1 verified copy is left" in reason or "announced" in reason


def test_a_repair_that_waits_goes_earlier_when_another_copy_is_lost(centre: Centre) -> None:
    centre.apply_sites("toronto", slots=1)
    shards = hold(centre, 3, SITES, copies=3, least=3)
    _lose(centre, "toronto", shards)
    centre.tick()
    before = centre.transfers(kind="copy", state="waiting")[0]  # whichever has no slot
    _lose(centre, "amsterdam", [before.shard_id or ""])
    centre.tick()
    [now] = [one for one in centre.transfers(shard_id=before.shard_id) if one.id == before.id]
    assert now.priority > before.priority
    assert "1 verified copy is left" in now.reason


def test_a_paused_copy_goes_on_when_another_copy_is_lost(centre: Centre) -> None:
    [shard] = hold(centre, 1, SITES[1:], copies=3, least=2)
    centre.apply_sites("toronto")
    centre.tick()
    [order] = [one for one in centre.orders() if one.task == "pull"]
    centre.apply_sites("toronto", windows=NIGHT)  # it is noon
    assert centre.beat(order).action == "pause"
    _lose(centre, "amsterdam", [shard])
    centre.tick()
    [copy] = centre.transfers(kind="copy", target_id="toronto")
    assert (copy.state, copy.priority >= URGENT) == ("running", True)
    assert centre.beat(order).action == "continue"


def test_what_is_found_wrong_at_a_retired_site_is_no_loss(centre: Centre) -> None:
    [shard] = hold(centre, 1, SITES)
    centre.apply_sites("toronto", retired=True)
    _lose(centre, "toronto", [shard])
    assert states(centre.store, "toronto") == {shard: "retired"}


def test_what_comes_late_from_a_retired_site_makes_no_work_for_it(centre: Centre) -> None:
    hold(centre, 1, SITES[1:], copies=3, least=2)
    centre.apply_sites("toronto")
    centre.tick()
    [order] = [one for one in centre.orders() if one.task == "pull"]
    centre.apply_sites("toronto", retired=True)
    assert not centre.report(order).applied
    assert centre.transfers(kind="verify", target_id="toronto") == []


def test_a_copy_over_one_that_is_in_doubt_is_given_up_and_it_is_read_instead(
    centre: Centre,
) -> None:
    [shard] = hold(centre, 1, SITES)
    with centre.store.write() as session:
        now = centre.store.now(session)
        row = Transfer(
            kind="copy", shard_id=shard, target_id="toronto", executor_id="toronto", created_at=now
        )
        row.state, row.version_id = "suspended", session.get_one(Shard, shard).version_id
        session.add(row)
    doubt(centre, "toronto", [shard])
    suspensions.retry(centre.store, row.id)
    centre.tick()
    [copy] = centre.transfers(kind="copy")
    assert copy.state == "cancelled"
    assert "in doubt" in copy.reason
    assert [one.target_id for one in centre.transfers(kind="verify")] == ["toronto"]


def test_a_copy_over_one_that_is_found_bad_meanwhile_is_made(
    postgres_store: Store, tmp_path: Path
) -> None:
    centre = Centre(postgres_store, tmp_path)
    centre.apply_sites(*SITES)
    [shard] = hold(centre, 1, SITES)
    with centre.store.write() as session:
        row = holdings.replica(session, shard, "toronto") or Replica()
        row.state = "suspect"
        copy = Transfer(
            kind="copy",
            shard_id=shard,
            target_id="toronto",
            executor_id="toronto",
            created_at=centre.store.now(session),
        )
        copy.version_id = session.get_one(Shard, shard).version_id
        session.add(copy)
    with ThreadPoolExecutor(1) as pool:
        with centre.store.write() as session:
            locking.lock(session, Shard, shard)
            row = holdings.replica(session, shard, "toronto") or Replica()
            row.state = "bad"
            done = pool.submit(centre.dispatch)
            until_blocked(centre.store)
        done.result()
    centre.dispatch()
    assert [one.state for one in centre.transfers(kind="copy")] == ["announced"]
    assert centre.transfers(kind="verify") == []


def test_the_last_copy_is_a_source_even_while_it_is_in_doubt(centre: Centre) -> None:
    [shard] = hold(centre, 1, ("toronto",), copies=2, least=2)
    doubt(centre, "toronto", [shard])
    centre.tick()
    copies = [one for one in centre.orders() if one.task == "pull"]
    assert copies
    assert copies[0].items[0].sources[0].site == "toronto"


class Faults(RuleBasedStateMachine):
    """Any sequence of faults and doubts, carried out by workers that destroy what they write to.

    A copy that such a worker is told to make is gone before the first byte is fetched, and a
    verify puts a corrupt one away.  No fault hits the last good copy; whatever the centre does
    then must leave it alone.
    """

    databases: Databases

    def __init__(self) -> None:
        super().__init__()
        self.folder = TemporaryDirectory()
        self.ids = ids_from(count(1))  # else what comes first would differ when it is run again
        self.ids.__enter__()
        self.store = self.databases.emptied(VirtualClock(MOMENT))
        self.centre = Centre(self.store, Path(self.folder.name))
        self.centre.apply_sites(*SITES)
        self.centre.open_doors()
        self.good: set[tuple[str, str]] = set()
        self.orders: list[Order] = []
        self.shards: list[str] = []

    @initialize()
    def begin(self) -> None:
        self.shards = hold(self.centre, 2, SITES, copies=3, least=2)
        self.good = {(site, shard) for site in SITES for shard in self.shards}

    @rule(site=st.sampled_from(SITES), index=st.integers(0, 1))
    def rot(self, site: str, index: int) -> None:
        """A copy goes wrong where another one is known to be good."""
        shard = self.shards[index]
        known = {one for one in SITES if states(self.store, one).get(shard) == "available"}
        if any((one, shard) in self.good for one in known - {site}):
            self.good.discard((site, shard))

    @rule(site=st.sampled_from(SITES), index=st.integers(0, 1))
    def doubt(self, site: str, index: int) -> None:
        doubt(self.centre, site, [self.shards[index]])

    @rule(days=st.sampled_from([0, 1, 40, 91]))
    def tick(self, days: int) -> None:
        self.centre.advance(days * 86_400.0 + 11)
        self.centre.tick()

    @rule()
    def claim(self) -> None:
        for attempt, site in self.centre.announced():
            try:
                order = self.centre.claim(attempt, site)
            except RefusedError:
                continue
            if order.task == "probe":
                self.centre.report(order)
                continue
            if order.task == "pull":
                self.good.discard((site, order.shard or ""))
            self.orders.append(order)

    @rule(data=st.data())
    def report(self, data: st.DataObject) -> None:
        if not self.orders:
            return
        order = self.orders.pop(data.draw(st.integers(0, len(self.orders) - 1)))
        if order.task == "verify":
            self._verify(order)
        else:
            self._copy(order)

    def _verify(self, order: Order) -> None:
        well = (order.site, order.shard or "") in self.good
        self.centre.report(order, **({} if well else {"items": _all(order, "corrupt")}))

    def _copy(self, order: Order) -> None:
        sources = {source.site for item in order.items for source in item.sources}
        if any((site, order.shard or "") in self.good for site in sources if site):
            self.good.add((order.site, order.shard or ""))
            self.centre.report(order)
        else:
            self.centre.report(order, items=_all(order, "source"))

    @invariant()
    def every_shard_has_a_good_copy(self) -> None:
        for shard in self.shards:
            assert any((site, shard) in self.good for site in SITES)

    def teardown(self) -> None:
        self.ids.__exit__(None, None, None)
        self.folder.cleanup()


def _all(order: Order, fault: str) -> tuple[ItemResult, ...]:
    failed = {"ok": False, "reason": fault, "fault": fault}
    return tuple(
        ItemResult.model_validate(failed | {"artifact": item.artifact}) for item in order.items
    )


def test_no_sequence_of_faults_makes_the_centre_touch_the_last_good_copy(
    sqlite_databases: Databases,
) -> None:
    Faults.databases = sqlite_databases
    case = Faults.TestCase
    case.settings = settings(max_examples=15, stateful_step_count=30, deadline=None)
    case().runTest()
