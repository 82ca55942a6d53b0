import errno
import hashlib
import os
import sys
from pathlib import Path

import pytest

from fleet.messages import Item, Order
from tests.pull_support import FOLDER, Site, item, noise, order, v1_pieces
from workers.lease import Lease, Stopped
from workers.verify import verify

LENGTH = 16_384


def shard(site: Site, *bodies: bytes) -> list[Item]:
    """Lay files into the tree, end to end."""
    items, at = [], 0
    for number, body in enumerate(bodies):
        path = site.put(f"{number}.csv", body)
        items.append(item(path.name, body=body, offset=at))
        at += len(body)
    return items


def ordered(*items: Item) -> Order:
    return order(
        *items, task="verify", shard="s1", digests=("sha256", "pieces"), piece_length=LENGTH
    )


def test_what_is_right_is_said_to_be_with_its_pieces(site: Site) -> None:
    bodies = noise(100_000), b"", noise(33_333, seed=2)
    items = shard(site, *bodies)
    lease = Lease()

    work = verify(ordered(*reversed(items)), site.storage, lease)

    assert [found.artifact for found in work.items] == ["2.csv", "1.csv", "0.csv"]
    assert all(found.ok for found in work.items)
    assert work.pieces == v1_pieces(b"".join(bodies), LENGTH)
    assert lease.bytes_done == 133_333
    assert work.bytes_fetched == 0


@pytest.mark.skipif(sys.platform != "linux", reason="the advice is Linux's")
def test_the_disk_is_read_and_not_the_page_cache(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    advised: list[tuple[int, ...]] = []

    def noted(_: int, *advice: int) -> None:
        advised.append(advice)

    monkeypatch.setattr(os, "posix_fadvise", noted)
    verify(ordered(*shard(site, b"abc")), site.storage, Lease())

    assert advised == [(0, 0, os.POSIX_FADV_DONTNEED)]


def test_a_corrupt_file_is_named_and_taken_out_of_the_tree(site: Site) -> None:
    good, bad = shard(site, noise(100_000), noise(50_000, seed=2))
    with site.file(bad.path).open("r+b") as file:
        file.seek(25_000)
        file.write(b"rot")

    work = verify(ordered(good, bad), site.storage, Lease())

    first, second = work.items
    assert first.ok
    assert (second.ok, second.fault, second.final) == (False, "corrupt", False)
    assert second.reason.startswith("1.csv is corrupt: sha256 ")
    assert work.pieces is None
    assert site.visible() == [f"{FOLDER}/0.csv"]
    data, why = (site.root / name for name in site.quarantined())
    assert len(data.read_bytes()) == 50_000
    assert "1.csv is corrupt" in why.read_text()


def test_a_file_of_another_size_is_corrupt_and_both_sizes_are_named(site: Site) -> None:
    (one,) = shard(site, noise(1000))
    site.put(one.path, noise(900))

    (found,) = verify(ordered(one), site.storage, Lease()).items

    assert found.reason == "0.csv is corrupt: 900 bytes where 1000 were expected"
    assert (found.fault, found.size) == ("corrupt", 900)


def test_a_missing_file_is_reported_and_not_made(site: Site) -> None:
    (good,) = shard(site, b"abc")
    gone, below = item("gone.csv", body=b"x" * 7), item("0.csv/below", body=b"x")
    site.file("folder").mkdir()

    work = verify(ordered(good, gone, below, item("folder")), site.storage, Lease())

    assert work.items[0].ok
    assert [found.fault for found in work.items[1:]] == ["missing"] * 3
    assert work.items[1].reason == "gone.csv is missing, all 7 bytes of it"
    assert site.visible() == [f"{FOLDER}/0.csv"]


def test_a_block_that_cannot_be_read_is_corruption(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    (one,) = shard(site, b"abc")

    def broken(*_: object) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "pread", broken)
    (found,) = verify(ordered(one), site.storage, Lease()).items

    assert found.fault == "corrupt"
    assert found.reason == "0.csv cannot be read: Input/output error"
    assert site.visible() == []


def test_a_file_that_we_may_not_open_is_our_own_fault(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    (one,) = shard(site, b"abc")

    def denied(*_: object) -> int:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(os, "open", denied)
    (found,) = verify(ordered(one), site.storage, Lease()).items

    assert (found.fault, found.final) == ("local", False)
    assert found.reason == "0.csv cannot be read: Permission denied"


def test_a_hostile_path_is_refused_and_a_link_is_not_read(site: Site, tmp_path: Path) -> None:
    (good,) = shard(site, b"abc")
    (tmp_path / "outside").write_bytes(b"secret")
    site.file("link").symlink_to(tmp_path / "outside")

    work = verify(ordered(good, item("../../outside"), item("link")), site.storage, Lease())

    assert [found.fault for found in work.items] == ["", "refused", "refused"]
    assert (tmp_path / "outside").exists()


def test_md5_decides_where_no_sha256_is_known(site: Site) -> None:
    site.put("a", b"abc")
    right, wrong = hashlib.md5(b"abc").hexdigest(), "0" * 32

    assert verify(order(item("a", md5=right)), site.storage, Lease()).items[0].ok
    found = verify(order(item("a", md5=wrong)), site.storage, Lease()).items[0]

    assert found.fault == "corrupt"
    assert "md5" in found.reason


def test_pieces_of_single_items_are_cut_outside_a_shard(site: Site) -> None:
    body = noise(300_000)
    site.put("a", body)
    ingest = order(item("a"), digests=("sha256", "pieces"), alone_from=1)

    work = verify(ingest, site.storage, Lease())

    assert list(work.blobs.values()) == [v1_pieces(body, work.items[0].piece_length or 0)]
    assert work.pieces is None


class Ending(Lease):
    """A lease that pauses once, and ends after some bytes."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count
        self.pauses = 1

    @property
    def paused(self) -> bool:
        self.pauses -= 1
        return self.pauses >= 0

    def check(self) -> None:
        if self.bytes_done >= self.count:
            raise Stopped("superseded")


def test_a_verify_pauses_and_stops_when_it_is_told(site: Site) -> None:
    items = shard(site, noise(3 * 1024 * 1024))
    lease = Ending(2 * 1024 * 1024)

    with pytest.raises(Stopped, match="superseded"):
        verify(ordered(*items), site.storage, lease)

    assert lease.bytes_done == 2 * 1024 * 1024
    assert lease.pauses < 0
    assert site.visible() == [f"{FOLDER}/0.csv"]


def test_padding_between_and_after_items_is_zeros(site: Site) -> None:
    first, second = noise(10_000), noise(33_333, seed=2)
    items = shard(site, first, second)
    laid = [items[0], items[1].model_copy(update={"offset": 16_384})]
    length = 16_384 + 49_152

    work = verify(ordered(*laid).model_copy(update={"stream": length}), site.storage, Lease())

    stream = (first.ljust(16_384, b"\0") + second).ljust(length, b"\0")
    assert work.pieces == v1_pieces(stream, LENGTH)
    assert all(found.ok for found in work.items)


def test_items_that_overlap_or_do_not_fit_give_no_pieces(site: Site) -> None:
    items = shard(site, noise(10_000), noise(33_333, seed=2))
    over = [items[0], items[1].model_copy(update={"offset": 9_999})]

    for laid, length, reason in (
        (over, 50_000, "1.csv begins at 9999, not at 10000"),
        (items, 40_000, "the items end at 43333, after the 40000 bytes ordered"),
    ):
        padded = ordered(*laid).model_copy(update={"stream": length})
        work = verify(padded, site.storage, Lease())
        assert (work.pieces, work.reason) == (None, f"no pieces were cut: {reason}")
