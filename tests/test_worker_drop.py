"""Dropping a shard's files at a site: nothing else goes, and nothing is left half silent."""

from pathlib import Path
from time import monotonic

import pytest

from fleet.messages import Item, Order
from fleet.settings import SiteSettings
from workers.centre import Centre
from workers.drop import drop
from workers.held import HeldLease
from workers.lease import Lease, Stopped
from workers.storage.doubts import Doubts
from workers.storage.posix import PosixStorage


def _order(*paths: str) -> Order:
    items = tuple(Item(artifact=f"ar-{path.replace('/', '-')}", path=path) for path in paths)
    return Order(
        attempt="at",
        fence=1,
        task="drop",
        site="toronto",
        lease_seconds=9,
        folder="d/1",
        items=items,
    )


def _put(root: Path, *paths: str) -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(path)


def _left(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def test_only_the_files_of_the_shard_go_and_the_folders_that_are_empty_then(tmp_path: Path) -> None:
    _put(tmp_path, "d/1/a/x.csv", "d/1/y.csv", "d/1/other.csv", "d/2/y.csv")
    work = drop(_order("a/x.csv", "y.csv"), PosixStorage(tmp_path), Lease())
    assert [item.ok for item in work.items] == [True, True]
    assert _left(tmp_path) == ["d/1/other.csv", "d/2/y.csv"]
    assert not (tmp_path / "d/1/a").exists()


def test_the_last_shard_leaves_no_folder_but_the_root(tmp_path: Path) -> None:
    _put(tmp_path, "d/1/a/x.csv")
    drop(_order("a/x.csv"), PosixStorage(tmp_path), Lease())
    assert not (tmp_path / "d").exists()
    assert tmp_path.is_dir()


def test_dropped_twice_it_is_dropped(tmp_path: Path) -> None:
    _put(tmp_path, "d/1/y.csv")
    for _ in range(2):
        assert [one.ok for one in drop(_order("y.csv"), PosixStorage(tmp_path), Lease()).items] == [
            True
        ]


def test_what_was_staged_and_doubted_of_it_goes_too(tmp_path: Path) -> None:
    _put(tmp_path, "d/1/y.csv")
    storage = PosixStorage(tmp_path)
    Doubts(tmp_path).put(tmp_path / "d/1/y.csv", "rotten")
    part = storage.staging("ar-y.csv")
    for suffix in (".part", ".map", ".json"):
        part.with_suffix(suffix).write_text("half")
    storage.staging("ar-other").write_text("half")
    drop(_order("y.csv"), storage, Lease())
    assert _left(tmp_path) == [".staging/ar-other.part"]


def test_a_file_that_cannot_be_deleted_is_reported_and_stops_no_other(tmp_path: Path) -> None:
    (tmp_path / "d/1/bad.csv").mkdir(parents=True)
    _put(tmp_path, "d/1/y.csv", "elsewhere/y.csv")
    (tmp_path / "d/1/link").symlink_to(tmp_path / "elsewhere")
    work = drop(_order("bad.csv", "link/y.csv", "y.csv"), PosixStorage(tmp_path), Lease())
    assert [item.ok for item in work.items] == [False, False, True]
    assert work.items[0].reason.startswith("bad.csv cannot be deleted: ")
    assert work.items[0].fault == "local"
    assert "elsewhere/y.csv" in _left(tmp_path)


def test_on_a_store_that_is_not_mounted_nothing_counts_as_dropped(tmp_path: Path) -> None:
    for root in (tmp_path / "missing", tmp_path):
        [result] = drop(_order("y.csv"), PosixStorage(root), Lease()).items
        assert (result.ok, result.fault, result.final) == (False, "local", False)
        assert result.reason == f"nothing of it is here, and {root} is empty: is the store mounted?"
        assert not any(tmp_path.iterdir())


def test_what_lay_in_a_folder_that_is_a_file_now_is_gone(tmp_path: Path) -> None:
    _put(tmp_path, "d/1/a")
    [result] = drop(_order("a/x.csv"), PosixStorage(tmp_path), Lease()).items
    assert result.ok
    assert _left(tmp_path) == ["d/1/a"]


def test_without_a_lease_that_lasts_nothing_more_is_deleted(tmp_path: Path) -> None:
    _put(tmp_path, "d/1/x.csv", "d/1/y.csv")
    order = _order("x.csv", "y.csv")
    settings = SiteSettings(site="toronto", centre_url="http://127.0.0.1:9", home=tmp_path)
    with Centre(settings) as centre:
        silent = HeldLease(order, centre, asked=monotonic() - order.lease_seconds)
        with pytest.raises(Stopped, match="the centre was not heard for 9 s, a whole lease"):
            drop(order, PosixStorage(tmp_path), silent)
        assert _left(tmp_path) == ["d/1/x.csv", "d/1/y.csv"]
        lasting = HeldLease(order, centre, asked=monotonic())
        assert all(one.ok for one in drop(order, PosixStorage(tmp_path), lasting).items)
