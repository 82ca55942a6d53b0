"""The ledger as a Parquet file: what its rows say of files and copies, and how it is written."""

import hashlib
import io
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sqlmodel import select

from fleet.cli import files
from fleet.cli import main as cli
from fleet.control import exports, mirror, replicas
from fleet.control.errors import FleetError
from fleet.messages import ItemResult
from fleet.store.database import Store
from fleet.store.tables import Artifact, Attempt, DatasetAlias, Incident, Transfer
from tests.centre_support import Centre, content
from tests.cli_support import Ended
from tests.conftest import NOON
from tests.databases import on_sqlite
from tests.holdings_support import hold

ORIGIN = "https://origin.example"
THEIRS = ["url", "dataset_id", "status", "http_status", "etag", "error"]
THEIRS += ["started_at", "finished_at", "part_size", "part_count"]
OURS = ["size", "sha256", "md5", "site", "verified_at"]


def _exported(store: Store, dataset: str | None = None) -> bytes:
    file = io.BytesIO()
    with store.read() as session:
        exports.write(session, exports.select(session, dataset), file, lambda done: None)
    return file.getvalue()


def _rows(store: Store, dataset: str | None = None) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(
        pa.BufferReader(_exported(store, dataset))
    ).to_pylist()
    return [row for row in rows if row["path"] != "manifest.json"]


def _lost(artifact: str) -> ItemResult:
    return ItemResult(artifact=artifact, ok=False, reason="404", final=True, fault="refused")


def test_each_copy_of_a_file_has_a_row_with_all_that_is_known_of_it(
    centre: Centre, tmp_path: Path
) -> None:
    md5 = hashlib.md5(content("a.csv")).hexdigest()
    listing = tmp_path / "list.txt"
    listing.write_text(f"{ORIGIN}/b.csv\n{ORIGIN}/a.csv\n  checksum=md5={md5}\n")
    mirror.mirror_dataset(centre.store, str(listing), dataset="data")
    centre.work()
    rows = _rows(centre.store, "data")
    assert [(row["path"], row["site"]) for row in rows] == [
        (path, site) for path in ("a.csv", "b.csv") for site in ("amsterdam", "netcup", "toronto")
    ]
    data = content("a.csv")
    for row in rows[:3]:
        assert row["url"] == f"{ORIGIN}/a.csv"
        assert (row["dataset_id"], row["version"]) == ("data", "2026-03-01")
        assert (row["status"], row["error"]) == ("available", None)
        assert row["size"] == len(data)
        assert row["sha256"] == hashlib.sha256(data).hexdigest()
        assert row["md5"] == md5
        assert row["started_at"] == row["finished_at"] == row["verified_at"]
        assert row["verified_at"] == NOON
    assert {row[name] for row in rows for name in exports.NOT_KEPT} == {None}


def test_the_columns_are_those_that_ingests_keep_and_then_ours(centre: Centre) -> None:
    file = pq.ParquetFile(pa.BufferReader(_exported(centre.store)))
    assert file.schema_arrow.names[: len(THEIRS + OURS)] == THEIRS + OURS
    assert file.metadata.num_rows == 0
    centre.mirror("a.csv")
    written = pq.ParquetFile(pa.BufferReader(_exported(centre.store))).metadata
    assert written.row_group(0).column(0).compression == "ZSTD"


def test_a_file_that_is_nowhere_yet_has_one_row_and_its_reason(centre: Centre) -> None:
    centre.mirror("a.csv", "gone.csv")
    assert [(row["path"], row["status"], row["site"]) for row in _rows(centre.store)] == [
        ("a.csv", "expected", None),
        ("gone.csv", "expected", None),
    ]
    centre.tick()
    orders = centre.orders()
    [began, _] = _rows(centre.store)
    assert (began["started_at"] is not None, began["finished_at"]) == (True, None)
    for order in orders:
        centre.report_but(order, "gone.csv", _lost)
    known, gone = _rows(centre.store)
    assert (known["status"], known["error"]) == ("known", None)
    assert (gone["status"], gone["error"], gone["sha256"]) == ("excluded", "404", None)


def test_the_times_are_those_of_the_attempt_that_brought_the_copy(centre: Centre) -> None:
    centre.mirror("a.csv")
    centre.tick()
    [ingest] = centre.orders()
    centre.advance(5)
    centre.report(ingest)
    centre.tick()
    [sealing] = centre.orders()  # of the pieces, where it lies
    centre.advance(2)
    centre.report(sealing)
    centre.tick()
    copying = next(order for order in centre.orders() if order.task == "pull")
    centre.advance(3)
    rows = {row["site"]: row for row in _rows(centre.store)}
    first, second = rows.pop(ingest.site), rows.pop(copying.site)
    assert (first["finished_at"] - first["started_at"]).total_seconds() == 5
    assert (second["started_at"], second["finished_at"]) == (first["verified_at"], None)
    assert (second["status"], second["error"]) == ("copying", None)  # why it is wanted is no error
    assert len(rows) == 1
    centre.report(copying, items=(), reason="the disk is full")
    [again] = [row for row in _rows(centre.store) if row["site"] == copying.site]
    assert (again["finished_at"] - again["started_at"]).total_seconds() == 3
    assert (again["status"], again["error"]) == ("pending", "the disk is full")


def test_a_copy_that_does_not_count_says_why(centre: Centre) -> None:
    shard, _ = hold(centre, 2, ("toronto", "amsterdam"))
    with centre.store.write() as session:
        now = centre.store.now(session)
        [artifact] = session.exec(select(Artifact).where(Artifact.shard_id == shard)).all()
        rotten = ItemResult(artifact=artifact.id, ok=False, reason="x", fault="corrupt")
        replicas.lose(session, shard, "toronto", [rotten], "00000.csv is corrupt", now)
        session.add(Incident(site_id="amsterdam", kind="judged", reason="it rots", began_at=now))
    told = {
        (row["path"], row["site"]): (row["status"], row["error"]) for row in _rows(centre.store)
    }
    assert told["00000.csv", "toronto"] == ("bad", "00000.csv is corrupt")
    assert told["00001.csv", "toronto"] == ("available", None)
    assert told["00001.csv", "amsterdam"] == ("suspect", "it rots")


def test_of_several_attempts_to_bring_a_copy_the_last_one_claimed_is_told(centre: Centre) -> None:
    [shard] = hold(centre, 1, ("toronto",))
    _copied(centre, shard, 2, fence=2)
    _copied(centre, shard, 1, fence=1)
    _copied(centre, shard, None, fence=0)
    [row] = _rows(centre.store)
    assert row["started_at"] == NOON + timedelta(hours=2)


def _copied(centre: Centre, shard: str, hours: int | None, fence: int) -> None:
    """Have a transfer to toronto whose last attempt was claimed so many hours after noon."""
    with centre.store.write() as session:
        transfer = Transfer(kind="copy", shard_id=shard, target_id="toronto", executor_id="toronto")
        transfer.fence, transfer.created_at = fence, NOON
        session.add(transfer)
        session.flush()
        attempt = Attempt(transfer_id=transfer.id, site_id="toronto", announced_at=NOON)
        if hours is not None:
            attempt.fence, attempt.claimed_at = fence, NOON + timedelta(hours=hours)
        session.add(attempt)


def test_a_retired_copy_has_no_row(centre: Centre) -> None:
    [shard] = hold(centre, 1, ("toronto", "amsterdam"))
    with centre.store.write() as session:
        replicas.gone(session, shard, "toronto", "dropped")
    assert [row["site"] for row in _rows(centre.store)] == ["amsterdam"]
    with centre.store.write() as session:
        replicas.gone(session, shard, "amsterdam", "dropped")
    assert [(row["status"], row["site"]) for row in _rows(centre.store)] == [("known", None)]


def test_a_file_from_a_folder_has_no_url(store: Store, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.csv").write_text("a")
    mirror.mirror_dataset(store, str(tmp_path / "data"))
    [row] = _rows(store)
    assert (row["path"], row["url"], row["size"]) == ("a.csv", None, 1)


def test_one_dataset_is_told_apart_from_all_and_found_by_an_old_name(centre: Centre) -> None:
    centre.mirror("a.csv")
    centre.work()
    hold(centre, 1, ("toronto",))
    with centre.store.write() as session:
        session.add(DatasetAlias(alias="old_name", dataset_id="held"))
    assert {row["dataset_id"] for row in _rows(centre.store)} == {"data", "held"}
    assert {row["dataset_id"] for row in _rows(centre.store, "old_name")} == {"held"}


def test_the_same_state_gives_the_same_bytes_whatever_it_was_read_from(centre: Centre) -> None:
    centre.mirror("é.csv", "B.csv", "a.csv", "_.csv", "Z/a.csv")
    centre.work()
    assert _exported(centre.store) == _exported(centre.store)
    paths = [row["path"] for row in _rows(centre.store)][::3]
    assert paths == sorted(paths)  # by code point: PostgreSQL's collation may differ


def test_row_groups_are_bounded_and_the_rows_are_told_as_they_are_written(
    centre: Centre, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exports, "GROUP_ROWS", 4)
    hold(centre, 5, ("toronto", "amsterdam"))
    file, told = io.BytesIO(), list[int]()
    with centre.store.read() as session:
        chosen = exports.select(session, None)
        exports.write(session, chosen, file, told.append)
    assert (told, chosen.rows) == ([4, 8, 10], 10)
    metadata = pq.ParquetFile(pa.BufferReader(file.getvalue())).metadata
    assert [metadata.row_group(one).num_rows for one in range(3)] == [4, 4, 2]


# the command

Run = Callable[..., Ended]


@pytest.fixture
def run(
    centre: Centre,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Run:
    """Run a command as ``fleet`` would, against the centre's store."""
    url = centre.store.engine.url.render_as_string(hide_password=False)
    monkeypatch.setenv("FLEET_DATABASE_URL", url)
    monkeypatch.setenv("FLEET_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> Ended:
        monkeypatch.setattr(sys, "argv", ["fleet", "ledger", "export", *words])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        out, err = capsys.readouterr()
        return Ended(int(caught.value.code or 0), out, err)

    return run


def test_the_command_writes_the_file_and_says_what_is_in_it(run: Run, centre: Centre) -> None:
    hold(centre, 2, ("toronto", "amsterdam"))
    ended = run("held", "--to", "ledger.parquet", "--json")
    size = Path("ledger.parquet").stat().st_size
    assert ended.json == {"file": "ledger.parquet", "rows": 4, "bytes": size}
    assert ended.err == ""
    assert Path("ledger.parquet").read_bytes() == _exported(centre.store)
    again = run("--to", "ledger.parquet")
    assert again.out.startswith("ledger.parquet: 4 rows")


@on_sqlite
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("nothing", "--to", "x.parquet"), "there is no dataset 'nothing'"),
        (("--to", "missing/x.parquet"), "there is no folder missing"),
        (("--to", "x.csv"), "end its name in .parquet"),
        (("--to", "folder.parquet"), "is a folder"),
    ],
)
def test_what_cannot_be_done_is_refused_in_one_line_and_leaves_nothing(
    run: Run, words: tuple[str, ...], said: str
) -> None:
    Path("folder.parquet").mkdir()
    before = sorted(Path().iterdir())
    ended = run(*words)
    assert (ended.code, ended.out) == (1, "")
    assert said in ended.err
    assert ended.err.count("\n") == 1
    assert sorted(Path().iterdir()) == before


def test_a_file_that_could_not_be_written_whole_leaves_the_old_one(tmp_path: Path) -> None:
    place = tmp_path / "ledger.parquet"
    place.write_bytes(b"old")

    def fill() -> None:
        with files.replacing(place) as file:
            file.write(b"half")
            raise OSError(28, "No space left on device")

    with pytest.raises(FleetError, match=r"ledger\.parquet cannot be written: No space left"):
        fill()
    assert place.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [place]
