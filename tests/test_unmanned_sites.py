"""Sites that have no worker: who works for them, what opens them, and what if nobody can."""

import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from fleet.control import grants, sites, why
from fleet.control.errors import NotFoundError, RefusedError
from fleet.control.rules import RuleSpec
from fleet.control.sites import SiteSpec
from fleet.messages import Order
from fleet.places import ItemsPlace
from fleet.store.tables import Site
from tests.centre_support import MOMENT, Centre
from tests.databases import on_sqlite

STORE = {
    "endpoint": "https://r2.example",
    "bucket": "open-data",
    "prefix": "mirror",
    "region": "auto",
}
BUCKET = {
    "id": "r2",
    "kind": "object_store",
    "driver": "s3",
    "store": STORE,
    "region": "eu",
    "read_url": "https://files.example",
}
EVERYWHERE = RuleSpec(copies=None, selector="")


def nodes(centre: Centre, **details: dict[str, object]) -> None:
    """Have a bucket, and nodes of these names."""
    usual = {"kind": "node", "driver": "posix"}
    specs = [
        SiteSpec.model_validate({**usual, "id": name, "read_url": f"http://{name}.example", **more})
        for name, more in details.items()
    ]
    sites.apply(centre.store, (*specs, SiteSpec.model_validate(BUCKET)))


def with_keys(centre: Centre, text: str = "r2: {key_id: AKID, secret: hush}") -> Path:
    path = centre.folder / "keys.yaml"
    path.write_text(text)
    path.chmod(0o600)
    centre.settings = centre.settings.model_copy(update={"keys_file": path})
    return path


def order_for_bucket(centre: Centre) -> Order:
    """Work until somebody is told to write to the bucket."""
    for _ in range(10):
        centre.tick()
        for order in centre.orders():
            if order.grant is not None:
                return order
            centre.report(order)
    raise AssertionError("nobody was told to")


def test_a_trusted_node_near_it_writes_to_a_bucket_and_is_given_what_opens_it(
    centre: Centre,
) -> None:
    nodes(centre, a={"trusted": True}, b={"trusted": True, "region": "eu"}, c={"region": "eu"})
    with_keys(centre)
    centre.mirror("x.csv", rule=EVERYWHERE)

    order = order_for_bucket(centre)

    assert order.site == "b"
    assert order.grant is not None
    assert order.grant.site == "r2"
    assert order.grant.place.model_dump() == {"driver": "s3", "processed": False, **STORE}
    assert (order.grant.key_id, order.grant.secret) == ("AKID", "hush")
    assert "hush" not in repr(order)
    centre.report(order)
    assert centre.replicas()["r2"] == ["available"]
    (transfer,) = centre.transfers(target_id="r2", kind="copy")
    assert (transfer.executor_id, transfer.state) == ("b", "done")


def test_items_of_the_archive_are_opened_with_what_the_sites_file_says(centre: Centre) -> None:
    node = {"id": "a", "kind": "node", "driver": "posix", "trusted": True}
    store = {"prefix": "dfc", "collection": "opensource"}
    archive = {"id": "ia", "kind": "archive", "driver": "internet-archive", "store": store}
    specs = [SiteSpec.model_validate(one) for one in (node, archive)]
    sites.apply(centre.store, tuple(specs))
    with_keys(centre, "ia: {key_id: AKID, secret: hush}")
    centre.mirror("x.csv", rule=EVERYWHERE)

    order = order_for_bucket(centre)

    assert order.grant is not None
    assert order.grant.place == ItemsPlace(
        endpoint="https://s3.us.archive.org",
        read="https://archive.org",
        prefix="dfc",
        collection="opensource",
    )
    assert Order.model_validate_json(order.model_dump_json()) == order
    assert [one.provider for one in order.budget.shares] == ["archive.org"]
    assert order.budget.shares[0].slices


@pytest.mark.parametrize("prefix", ["", "ab", "Upper", "a_b", "-ab", "a/b", "x" * 32])
def test_a_prefix_that_items_cannot_have_is_refused(prefix: str) -> None:
    spec = {"id": "ia", "kind": "archive", "driver": "internet-archive"}
    with pytest.raises(ValidationError, match="pattern"):
        SiteSpec.model_validate({**spec, "store": {"prefix": prefix}})


def test_where_no_node_is_trusted_nothing_is_placed_there_and_it_says_so(centre: Centre) -> None:
    nodes(centre, a={}, b={})
    with_keys(centre)
    version = centre.mirror("x.csv", rule=EVERYWHERE)
    centre.work()
    assert "r2" not in centre.replicas()
    with centre.store.read() as session:
        told = str(why.explain(session, version, centre.store.now(session)))
    assert "there is no trusted node that could work for r2" in told


def test_without_keys_it_waits_and_goes_on_once_they_are_there(centre: Centre) -> None:
    nodes(centre, a={"trusted": True})
    centre.mirror("x.csv", rule=EVERYWHERE)
    centre.work()
    (transfer,) = centre.transfers(target_id="r2", kind="copy")
    assert transfer.reason == "nothing opens r2: name the file with its keys in FLEET_KEYS_FILE"
    with_keys(centre)
    centre.advance(301)
    assert order_for_bucket(centre).site == "a"


def test_what_a_silent_node_does_not_do_is_given_to_another(centre: Centre) -> None:
    centre.open_doors()
    nodes(centre, a={"trusted": True, "region": "eu"}, b={"trusted": True})
    with_keys(centre)
    centre.mirror("x.csv", rule=EVERYWHERE)
    given = set()
    for _ in range(20):
        centre.tick()
        (transfer,) = centre.transfers(target_id="r2", kind="copy") or [None]
        given.add(transfer and transfer.executor_id)
        for attempt, site in centre.announced():
            if site == "b" or "a" not in given:
                centre.report(centre.claim(attempt, site))
        centre.advance(centre.settings.lease_seconds + 1)
    assert given >= {"a", "b"}
    assert centre.replicas()["r2"] == ["available"]


def test_a_retired_node_gives_back_what_it_was_to_do_for_others(centre: Centre) -> None:
    nodes(centre, a={"trusted": True, "region": "eu"}, b={"trusted": True})
    with_keys(centre)
    centre.mirror("x.csv", rule=EVERYWHERE)
    order = order_for_bucket(centre)
    assert order.site == "a"
    spec = {"id": "a", "kind": "node", "driver": "posix", "retired": "lost"}
    sites.apply(centre.store, (SiteSpec.model_validate(spec),))
    assert order_for_bucket(centre).site == "b"


def test_who_is_trusted_no_more_is_given_no_keys_and_the_work_goes_to_another(
    centre: Centre,
) -> None:
    near = {"trusted": True, "region": "eu"}
    nodes(centre, a=near, b={"trusted": True})
    with_keys(centre)
    centre.mirror("x.csv", rule=EVERYWHERE)
    attempt = _announced_for_bucket(centre, "a")
    nodes(centre, a=near | {"trusted": False}, b={"trusted": True})
    with pytest.raises(RefusedError, match="nothing opens r2 to a: a is not trusted"):
        centre.claim(attempt, "a")
    centre.advance(301)
    assert order_for_bucket(centre).site == "b"


def test_keys_that_are_gone_at_the_claim_make_nobody_silent(centre: Centre) -> None:
    centre.open_doors()
    nodes(centre, a={"trusted": True})
    path = with_keys(centre)
    centre.mirror("x.csv", rule=EVERYWHERE)
    attempt = _announced_for_bucket(centre, "a")
    path.write_text("b2: {key_id: A, secret: B}")
    with pytest.raises(RefusedError, match="has no keys of r2"):
        centre.claim(attempt, "a")
    (transfer,) = centre.transfers(target_id="r2", kind="copy")
    assert (transfer.state, transfer.attempts) == ("waiting", 0)
    assert "has no keys of r2" in transfer.reason
    path.write_text("r2: {key_id: A, secret: B}")
    centre.advance(301)
    assert order_for_bucket(centre).site == "a"


def test_a_node_that_is_lost_while_it_works_for_a_bucket_is_stopped(centre: Centre) -> None:
    nodes(centre, a={"trusted": True, "region": "eu"}, b={"trusted": True})
    with_keys(centre)
    centre.mirror("x.csv", rule=EVERYWHERE)
    order = order_for_bucket(centre)
    assert order.site == "a"
    spec = {"id": "a", "kind": "node", "driver": "posix", "retired": "lost"}
    sites.apply(centre.store, (SiteSpec.model_validate(spec),))
    assert centre.beat(order).action == "stop"
    with pytest.raises((NotFoundError, RefusedError)):
        grants.renew(centre.store, centre.settings, order.attempt, "a")


def test_one_that_fails_is_not_asked_again_while_another_was_not(centre: Centre) -> None:
    nodes(centre, a={"trusted": True, "region": "eu"}, b={"trusted": True})
    with_keys(centre)
    centre.mirror("x.csv", rule=EVERYWHERE)
    asked = []
    for _ in range(2):
        order = order_for_bucket(centre)
        asked.append(order.site)
        centre.report(order, items=(), reason="the disk is full")
        centre.advance(60)
    assert asked == ["a", "b"]


def test_where_its_copies_lie_is_not_changed_under_them(centre: Centre) -> None:
    nodes(centre, a={"trusted": True})
    with_keys(centre)
    centre.mirror("x.csv", rule=EVERYWHERE)
    centre.report(order_for_bucket(centre))
    moved = {**BUCKET, "store": {**STORE, "bucket": "another"}}
    with pytest.raises(RefusedError, match="r2: its copies lie where its `store` said"):
        sites.apply(centre.store, (SiteSpec.model_validate(moved),))


def test_a_bucket_has_no_seeder_to_be_woken(centre: Centre) -> None:
    nodes(centre, a={"trusted": True})
    with_keys(centre)
    centre.mirror("x.csv", rule=EVERYWHERE)
    centre.report(order_for_bucket(centre))
    assert not [one for one in centre.wakeups() if one.site_id == "r2"]


def _announced_for_bucket(centre: Centre, site: str) -> str:
    """Work until a site is told of what it is to do for the bucket."""
    for _ in range(10):
        centre.tick()
        told = centre.announced()
        ours = {one.attempt_id for one in centre.transfers(target_id="r2", executor_id=site)}
        for attempt, where in told:
            if attempt in ours:
                return attempt
            centre.report(centre.claim(attempt, where))
    raise AssertionError("nobody was told to")


def test_keys_are_given_anew_to_whoever_holds_the_attempt_and_to_nobody_else(
    centre: Centre,
) -> None:
    nodes(centre, a={"trusted": True}, b={})
    path = with_keys(centre)
    centre.mirror("x.csv", rule=EVERYWHERE)
    order = order_for_bucket(centre)
    path.write_text("r2: {key_id: NEW, secret: other, token: t, expires: 2026-03-02T00:00:00Z}")
    found = grants.renew(centre.store, centre.settings, order.attempt, "a")
    assert (found.key_id, found.token) == ("NEW", "t")
    with pytest.raises(NotFoundError, match="site b has no attempt"):
        grants.renew(centre.store, centre.settings, order.attempt, "b")
    centre.report(order)
    with pytest.raises(NotFoundError, match="has ended"):
        grants.renew(centre.store, centre.settings, order.attempt, "a")


@on_sqlite
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("b2: {key_id: A, secret: B}", "has no keys of r2: add its key_id and secret"),
        ("r2: {key_id: A}", r"r2\.secret: Field required"),
        ("r2: {key_id: A, secret: s3cret, tokn: B}", r"r2\.tokn: Extra inputs"),
        ("r2: [s3cret", "is no YAML"),
        ("- s3cret", "has no keys of r2"),
        (
            "r2: {key_id: A, secret: B, expires: 2026-02-28T00:00:00Z}",
            "expired 2026-02-28 00:00 UTC",
        ),
    ],
)
def test_a_keys_file_that_will_not_do_says_why_and_shows_no_secret(
    centre: Centre, text: str, said: str
) -> None:
    with_keys(centre, text)
    site = Site(id="r2", kind="object_store", driver="s3", store=STORE)
    found = grants.lacking(centre.settings, site, MOMENT)
    assert re.search(said, found)
    assert "s3cret" not in found


def test_a_keys_file_that_others_may_read_is_refused(centre: Centre) -> None:
    with_keys(centre).chmod(0o644)
    site = Site(id="r2", kind="object_store", driver="s3", store=STORE)
    assert "chmod 600" in grants.lacking(centre.settings, site, MOMENT)


def test_a_bucket_without_a_place_is_refused_in_the_sites_file() -> None:
    with pytest.raises(ValidationError, match="needs a `store:`"):
        SiteSpec.model_validate({"id": "r2", "kind": "object_store", "driver": "s3"})
    with pytest.raises(ValidationError, match="needs a `read_url`"):
        SiteSpec.model_validate({**BUCKET, "read_url": ""})
    with pytest.raises(ValidationError, match="a node has a worker, and driver s3 none"):
        SiteSpec.model_validate({**BUCKET, "kind": "node"})
    for bad in ({"endpoint": "https://u:p@r2.example"}, {"prefix": "../x"}, {"bucket": "a/b"}):
        with pytest.raises(ValidationError, match="pattern"):
            SiteSpec.model_validate({**BUCKET, "store": {**STORE, **bad}})
    with pytest.raises(ValidationError, match="driver posix has no such `store:`"):
        SiteSpec.model_validate(
            {"id": "a", "kind": "node", "driver": "posix", "store": {"driver": "s3", **STORE}}
        )
    with pytest.raises(ValidationError, match="driver"):
        SiteSpec.model_validate({"id": "a", "kind": "node", "driver": "posix", "store": STORE})


def test_what_is_wrong_with_a_place_is_said_by_its_field(tmp_path: Path) -> None:
    path = tmp_path / "sites.yaml"
    store = "{endpoint: 'https://r2.example', bucket: a/b}"
    path.write_text(f"sites: [{{id: r2, kind: object_store, driver: s3, store: {store}}}]")
    with pytest.raises(RefusedError, match=r"r2\.store\.bucket: String should match"):
        sites.read(path)
