"""What orders ask for and name: md5 where somebody wants it, known piece hashes for copies."""

import hashlib
from collections.abc import Iterator

import pytest
from pydantic import SecretStr

from fleet.control import sites
from fleet.control.rules import RuleSpec
from fleet.control.sites import SiteSpec
from fleet.messages import BlobRef, Order
from fleet.settings import SiteSettings
from fleet.store.tables import Blob
from fleet.torrent.pieces import piece_length
from tests.api_support import Api, served
from tests.centre_support import Centre, content
from tests.databases import on_sqlite
from tests.pull_support import v1_pieces
from workers.centre import Centre as Client
from workers.centre import CentreFailed, CentreRefused
from workers.tasks import _known

ZENODO = {"id": "zenodo", "kind": "repository", "driver": "zenodo", "store": {}}


@pytest.fixture
def api(centre: Centre) -> Iterator[Api]:
    with served(centre) as one:
        yield one


def _copies(centre: Centre, *paths: str) -> list[Order]:
    """Mirror these files; carry out what comes before the copies of sealed shards."""
    centre.mirror(*paths)
    for _ in range(5):
        centre.tick()
        orders = centre.orders()
        if orders and all(order.shard and "pieces" not in order.digests for order in orders):
            return orders
        for order in orders:
            centre.report(order)
    raise AssertionError("no copies were ordered")


def _client(api: Api) -> Client:
    token = SecretStr(api.token("toronto"))
    return Client(SiteSettings(site="toronto", site_token=token, centre_url=api.url))


def test_a_copy_of_a_sealed_shard_of_one_file_names_its_piece_hashes(api: Api) -> None:
    for order in _copies(api.centre, "a.csv"):
        pieces = v1_pieces(content("a.csv"), piece_length(len(content("a.csv"))))
        assert order.known == BlobRef(sha256=hashlib.sha256(pieces).hexdigest(), size=20)
        with _client(api) as client:
            assert client.blob(order.known.sha256) == pieces
            assert _known(order, client) == pieces


def test_the_piece_hashes_of_a_bundle_prove_no_single_file(centre: Centre) -> None:
    assert [order.known for order in _copies(centre, "a.csv", "b.csv")] == [None, None]


def test_there_are_no_piece_hashes_before_a_shard_is_sealed(centre: Centre) -> None:
    centre.mirror("a.csv")
    centre.tick()
    [ingest] = centre.orders()
    centre.report(ingest)
    centre.tick()
    [sealing] = centre.orders()
    assert "pieces" in sealing.digests
    assert (ingest.known, sealing.known) == (None, None)


@on_sqlite
@pytest.mark.parametrize("name", ["0" * 64, "census", "a" * 3000])
def test_a_blob_that_was_never_sent_is_not_found(name: str, api: Api) -> None:
    answer = api.ask("toronto", "GET", f"blobs/{name}")
    assert answer.status_code == 404
    assert answer.json()["detail"] == f"there is no blob {name[:64]!r}"
    with _client(api) as client, pytest.raises(CentreRefused, match="there is no blob"):
        client.blob(name)


def test_a_pull_goes_on_without_the_piece_hashes(api: Api) -> None:
    [order, *_] = _copies(api.centre, "a.csv")
    gone = order.model_copy(update={"known": BlobRef(sha256="0" * 64, size=20)})
    with _client(api) as client:
        assert _known(gone, client) == b""
        assert _known(order.model_copy(update={"known": None}), client) == b""


def test_other_bytes_than_those_asked_for_are_not_taken(api: Api) -> None:
    [order, *_] = _copies(api.centre, "a.csv")
    assert order.known is not None
    with api.centre.store.write() as session:
        session.get_one(Blob, order.known.sha256).data = b"something else"
    with _client(api) as client, pytest.raises(CentreFailed, match="other bytes"):
        client.blob(order.known.sha256)


@pytest.mark.parametrize(
    ("selector", "wanted"), [("kind=node", False), ("kind=node | id=zenodo", True)]
)
def test_md5_is_asked_for_where_the_rule_names_a_site_that_wants_it(
    selector: str, wanted: bool, centre: Centre
) -> None:
    sites.apply(centre.store, (SiteSpec.model_validate(ZENODO),))
    centre.mirror("a.csv", rule=RuleSpec(selector=selector))
    centre.tick()
    [order] = centre.orders()
    assert ("md5" in order.digests) is wanted


def test_a_retired_site_wants_no_md5(centre: Centre) -> None:
    zenodo = SiteSpec.model_validate(ZENODO | {"retired": True})
    sites.apply(centre.store, (zenodo,))
    centre.mirror("a.csv", rule=RuleSpec(selector="kind=node | id=zenodo"))
    centre.tick()
    [order] = centre.orders()
    assert "md5" not in order.digests
