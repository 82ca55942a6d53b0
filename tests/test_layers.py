"""BEP 52 layers: made as a file arrives, checked, kept, and what proves a range of it."""

import hashlib
import random
from collections.abc import Callable

import pytest
from sqlmodel import select

from fleet.control import blobs, ledger
from fleet.messages import BlobRef, Order
from fleet.store.tables import Artifact, Observation
from fleet.torrent.merkle import layer_fault, root_of
from tests import centre_support
from tests.centre_support import Centre
from tests.databases import on_sqlite
from tests.fault_server import FaultServer
from tests.pull_support import Site, item, noise, order
from tests.test_digests import merkle_layer, merkle_root
from workers.work import blob_ref

KIB = 1024
PIECE = 256 * KIB
BODY = noise(9 * PIECE + 12_345)
SMALL = noise(5000, seed=2)
LAYER = merkle_layer(BODY, PIECE)
ROOT = bytes.fromhex(merkle_root(BODY) or "")
FILES = {"large.bin": BODY, "small.csv": SMALL}


@pytest.fixture
def ingest(centre: Centre, monkeypatch: pytest.MonkeyPatch) -> Order:
    """The order of a large file's ingest; a small one came in already."""
    monkeypatch.setattr(centre_support, "content", FILES.__getitem__)
    centre.settings = centre.settings.model_copy(update={"alone_from": len(BODY)})
    centre.mirror(*FILES)
    centre.tick()
    orders = {order.items[0].path: order for order in centre.orders()}
    centre.report(orders["small.csv"])
    return orders["large.bin"]


def _artifacts(centre: Centre) -> dict[str, Artifact]:
    with centre.store.read() as session:
        return {one.path: one for one in session.exec(select(Artifact)).all()}


def test_a_worker_sends_the_layer_of_a_large_file_and_of_a_small_one_the_root_alone(
    server: FaultServer, site: Site
) -> None:
    asked = [item(name, server.serve(name, body)) for name, body in FILES.items()]
    digests = ("sha256", "pieces", "bep52")
    work = site.pull(order(*asked, digests=digests, alone_from=len(BODY)))
    large, small = work.items
    assert (large.bep52_root, large.piece_length) == (ROOT.hex(), PIECE)
    assert large.layer == blob_ref(LAYER)
    assert work.all_blobs[blob_ref(LAYER).sha256] == LAYER
    assert (small.bep52_root, small.layer, small.pieces) == (merkle_root(SMALL), None, None)


def test_a_layer_that_leads_to_its_root_is_kept_with_its_file(
    centre: Centre, ingest: Order
) -> None:
    assert {"sha256", "pieces", "bep52"} == set(ingest.digests)
    assert centre.report(ingest).reason == "applied"
    found = _artifacts(centre)
    assert found["large.bin"].bep52_root == ROOT.hex()
    assert blobs.read(centre.store, found["large.bin"].layer or "") == LAYER
    assert found["small.csv"].bep52_root == merkle_root(SMALL)
    assert found["small.csv"].layer is None


def _flipped(layer: bytes) -> bytes:
    return bytes([layer[0] ^ 1]) + layer[1:]


@on_sqlite
@pytest.mark.parametrize(
    ("forge", "reason"),
    [
        (_flipped, f"it does not lead to the root {ROOT.hex()[:16]}…"),
        (lambda layer: layer[:-32], "it has 288 bytes where 10 pieces want 320"),
        (lambda layer: layer[:-1], "it has 319 bytes where 10 pieces want 320"),
        (lambda layer: layer + bytes(32), "it has 352 bytes where 10 pieces want 320"),
        (lambda _: b"", "it has 0 bytes where 10 pieces want 320"),
    ],
)
def test_a_forged_layer_is_refused_by_name_and_nothing_else_is_lost(
    centre: Centre, ingest: Order, forge: Callable[[bytes], bytes], reason: str
) -> None:
    forged = forge(LAYER)
    blobs.keep(centre.store, hashlib.sha256(forged).hexdigest(), forged)
    verdict = _report_with(centre, ingest, layer=blob_ref(forged))
    assert verdict == f"the BEP 52 layer of large.bin is refused: {reason}"
    found = _artifacts(centre)
    assert {one.state for one in found.values()} == {"known"}
    assert (found["large.bin"].layer, found["large.bin"].bep52_root) == (None, ROOT.hex())
    assert found["large.bin"].pieces is not None
    with centre.store.read() as session:
        wanted = Observation.kind == "refused_layer"
        [kept] = session.exec(select(Observation).where(wanted)).all()
    assert kept.detail["reason"] == verdict
    assert not centre.transfers(state="suspended")


@on_sqlite
@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"layer": BlobRef(sha256="0" * 64, size=320)}, "its blob was not sent before"),
        ({"bep52_root": None}, "it came without the size, the pieces and the root"),
        ({"pieces": None}, "it came without the size, the pieces and the root"),
        ({"piece_length": 2**40}, "have 1099511627776 bytes where 262144 were asked for"),
        ({"bep52_root": "0" * 64}, "it does not lead to the root 0000000000000000…"),
    ],
)
def test_a_layer_without_what_it_goes_with_is_refused(
    centre: Centre, ingest: Order, changes: dict[str, object], reason: str
) -> None:
    assert reason in _report_with(centre, ingest, **changes)
    found = _artifacts(centre)["large.bin"]
    assert (found.state, found.layer) == ("known", None)


def _report_with(centre: Centre, ingest: Order, **changes: object) -> str:
    """Report the ingest with changes to the large file's result; return what the centre says."""
    outcome = centre.outcome(ingest)
    items = tuple(
        one.model_copy(update=changes) if one.size == len(BODY) else one for one in outcome.items
    )
    told = outcome.model_copy(update={"items": items})
    return ledger.apply(centre.store, centre.settings, told).reason


def test_a_probe_of_a_large_file_is_proved_by_the_subtree_of_a_piece(
    centre: Centre, ingest: Order
) -> None:
    centre.report(ingest)
    centre.work()
    seen = set()
    for _ in range(60):
        centre.advance(400)
        centre.tick()
        for probe in centre.orders():
            for one in probe.items:
                assert one.sample is not None
                if one.size == len(BODY):
                    part = BODY[one.sample.start :][: one.sample.length]
                    assert len(part) == one.sample.length == PIECE
                    assert one.sample.bep52 == merkle_root(part)
                    assert one.sample.sha1 is None
                    seen.add(one.sample.start // PIECE)
            centre.report(probe)
        if len(seen) > 3:
            return
    raise AssertionError(f"only pieces {seen} were asked for")


@pytest.mark.parametrize("pieces", [2, 3, 7, 8, 9, 33])
def test_a_layer_grows_to_the_root_and_no_other_does(pieces: int) -> None:
    body = random.Random(pieces).randbytes((pieces - 1) * 16 * KIB * 4 + 20_000)
    length = 64 * KIB
    layer, root = merkle_layer(body, length), bytes.fromhex(merkle_root(body) or "")
    assert root_of(layer, length) == root
    assert layer_fault(layer, len(body), length, root) == ""
    swapped = layer[32:64] + layer[:32] + layer[64:]
    assert "does not lead" in layer_fault(swapped, len(body), length, root)


@pytest.mark.parametrize(
    ("size", "length", "reason"),
    [
        (100, 64 * KIB, "no longer than a piece"),
        (0, 64 * KIB, "no longer than a piece"),
        (100_000, 50_000, "no pieces of 50000 bytes"),
    ],
)
def test_what_has_no_layer_is_told_so(size: int, length: int, reason: str) -> None:
    assert reason in layer_fault(bytes(32), size, length, bytes(32))
