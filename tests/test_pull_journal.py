"""What a journal vouches for after the death of a process, a power cut and worse."""

import json
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.pull import journal as journal_module
from workers.pull.extents import GRANULE, MOST_AUTHORS
from workers.pull.journal import SYNCED, Author, Journal

ALICE, BOB = Author(url="http://a/", etag='"a"'), Author(url="http://b/", modified="yesterday")
SIZE = 6 * GRANULE + 5


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    boot = tmp_path / "boot_id"
    boot.write_text("monday\n")
    monkeypatch.setattr(journal_module, "BOOT_ID", boot)
    return tmp_path / "census.part"


def start_anew(data: Path) -> None:
    data.with_name("boot_id").write_text("tuesday\n")


def loaded(data: Path, length: int = SIZE) -> bytes:
    """What a later attempt counts as held."""
    return bytes(Journal(data).load(length))


def written(data: Path, marks: bytes = b"\1\2\0\1\1\2\1", sealed: bytes = b"") -> Journal:
    journal = Journal(data)
    journal.begin(SIZE, (ALICE, BOB))
    journal.mark(0, marks)
    if sealed:
        journal.seal(sealed)
        journal.sync()
    return journal


def test_what_is_marked_survives_the_process_and_not_the_machine(data: Path) -> None:
    written(data)

    assert loaded(data) == b"\1\2\0\1\1\2\1"
    start_anew(data)
    assert loaded(data) == b""


def test_what_is_sealed_survives_the_machine(data: Path) -> None:
    written(data, sealed=b"\1\2\0\1")

    assert loaded(data) == b"\1\2\0\1\1\2\1"
    start_anew(data)
    assert loaded(data) == b"\1\2\0\1\0\0\0"


def test_what_was_marked_while_the_data_was_synced_stays_marked(data: Path) -> None:
    written(data, b"\1\0\0\0\2\0\1", sealed=b"\1\0\0\0\0\0\1")

    assert loaded(data) == b"\1\0\0\0\2\0\1"
    start_anew(data)
    assert loaded(data) == b"\1\0\0\0\0\0\1"


@pytest.mark.parametrize("granule", [None, GRANULE // 2])
def test_a_map_of_granules_of_another_size_vouches_for_nothing(
    data: Path, granule: int | None
) -> None:
    written(data, sealed=b"\1\2\0\1\1\2\1")
    path = data.with_suffix(".json")
    head = json.loads(path.read_text())
    del head["granule"]
    path.write_text(json.dumps(head if granule is None else head | {"granule": granule}))

    assert loaded(data) == b""


def test_a_machine_without_a_name_for_its_starts_counts_only_what_is_sealed(
    data: Path,
) -> None:
    data.with_name("boot_id").unlink()
    written(data, sealed=b"\1\2")

    assert loaded(data) == b"\1\2\0\0\0\0\0"


def test_what_an_earlier_start_left_unsealed_is_not_vouched_for_by_the_next(data: Path) -> None:
    written(data, sealed=b"\1\2")
    start_anew(data)

    journal = Journal(data)
    journal.load(SIZE)
    journal.begin(SIZE, journal.head.authors)
    journal.mark(3, b"\2")

    assert loaded(data) == b"\1\2\0\2\0\0\0"


def test_authors_are_found_again_by_their_numbers(data: Path) -> None:
    written(data)
    journal = Journal(data)
    journal.load(SIZE)
    assert journal.head.authors == (ALICE, BOB)
    assert journal.head.size == SIZE

    carol = Author(url="http://c/")
    journal.begin(SIZE, (ALICE, BOB, carol))
    journal.mark(2, b"\3")

    again = Journal(data)
    assert again.load(SIZE) == b"\1\2\3\1\1\2\1"
    assert again.head.authors == (ALICE, BOB, carol)


@pytest.mark.parametrize(
    "head",
    [
        None,
        b"",
        b'{"boot": "monday", "si',
        b"\xff\xfe",
        b"[]",
        json.dumps({"boot": "monday", "size": -1}).encode(),
        json.dumps({"boot": "monday", "size": SIZE, "authors": [{"url": 1}]}).encode(),
        json.dumps({"boot": "monday", "size": SIZE, "authors": []}).encode(),
        json.dumps({"boot": "monday", "authors": [{"url": "u"}] * (MOST_AUTHORS + 1)}).encode(),
    ],
)
def test_without_a_whole_head_nothing_counts_and_it_does_not_come_back(
    data: Path, head: bytes | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(data, sealed=b"\1\2\1").close()
    path = data.with_suffix(".json")
    path.unlink() if head is None else path.write_bytes(head)
    assert loaded(data) == b""

    synced: list[bytes] = []
    sync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda at: (synced.append(os.pread(at, 99, 0)), sync(at))[1])
    journal = Journal(data)
    journal.load(SIZE)
    journal.begin(SIZE, (ALICE,))
    assert synced == [b""], "the old map could come back with a power cut"
    journal.mark(1, b"\1")
    assert loaded(data) == b"\0\1"


@pytest.mark.parametrize("length", [0, 1, GRANULE - 1, GRANULE, 3 * GRANULE, SIZE - 1, SIZE])
def test_only_what_the_data_reaches_counts(data: Path, length: int) -> None:
    written(data, b"\1" * 7, sealed=b"\1" * 7)

    count = 7 if length == SIZE else length // GRANULE
    assert loaded(data, length).rstrip(b"\0") == b"\1" * count


@settings(deadline=None)
@given(garbage=st.binary(max_size=40))
def test_a_map_of_garbage_names_only_known_authors(
    garbage: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    data = tmp_path_factory.mktemp("journal") / "census.part"
    written(data)
    data.with_suffix(".map").write_bytes(garbage)

    found = loaded(data, 1 << 40)

    assert found in {b"", bytes(at & ~SYNCED if at & ~SYNCED <= 2 else 0 for at in garbage)}
    assert bool(found) == any(found)


def test_a_mark_without_an_author_is_none(data: Path) -> None:
    written(data, bytes([SYNCED] * 7))
    assert loaded(data) == b""


def test_what_is_forgotten_is_gone_and_durably_before_anything_else_happens(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[list[str]] = []
    sync = os.fsync

    def noted(descriptor: int) -> None:
        if Path(f"/proc/self/fd/{descriptor}").is_dir():
            synced.append(sorted(os.listdir(descriptor)))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    journal = written(data)
    journal.forget(durable=True)

    assert synced == [["boot_id"]]
    assert loaded(data) == b""
    journal.begin(SIZE, (BOB,))
    journal.mark(0, b"\1")
    assert loaded(data) == b"\1"


def test_a_journal_of_a_small_file_is_not_written(data: Path) -> None:
    journal = Journal(data)
    journal.mark(0, b"\1")
    journal.seal(b"\1")
    journal.sync()
    journal.forget(durable=True)
    assert [path.name for path in data.parent.iterdir()] == ["boot_id"]


@pytest.mark.parametrize("forgotten", [False, True])
def test_it_may_be_let_go_of_while_it_is_synced(
    data: Path, monkeypatch: pytest.MonkeyPatch, forgotten: bool
) -> None:
    journal, sync, gone = written(data, sealed=b"\1"), os.fsync, threading.Event()
    syncing = threading.Event()

    def slow(descriptor: int) -> None:
        syncing.set()
        assert gone.wait(10)
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", slow)
    thread = threading.Thread(target=journal.sync)
    thread.start()
    assert syncing.wait(10)
    journal.forget(durable=False) if forgotten else journal.close()
    gone.set()
    thread.join(10)

    assert not thread.is_alive()
    assert loaded(data) == (b"" if forgotten else b"\1\2\0\1\1\2\1")


def test_what_is_forgotten_before_it_could_be_synced_is_no_error(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal, dup = written(data, sealed=b"\1"), os.dup

    def forget_then(descriptor: int) -> int:
        copy = dup(descriptor)
        for suffix in (".json", ".map"):
            data.with_suffix(suffix).unlink()
        return copy

    monkeypatch.setattr(os, "dup", forget_then)
    journal.sync()

    assert loaded(data) == b""


def test_threads_mark_and_seal_while_others_forget_and_begin(data: Path) -> None:
    journal, over = Journal(data), threading.Event()
    failed: list[BaseException] = []

    def again_and_again(step: Callable[[], None]) -> None:
        try:
            while not over.is_set():
                step()
        except BaseException as error:  # noqa: BLE001 - it is what is looked for
            failed.append(error)

    def seal() -> None:
        journal.mark(0, b"\1\2")
        journal.seal(b"\1\2")
        journal.sync()

    threads = [threading.Thread(target=again_and_again, args=(seal,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(30):
        journal.begin(SIZE, (ALICE, BOB))
        journal.forget(durable=True)
    over.set()
    for thread in threads:
        thread.join(10)

    assert failed == []
    assert [path.name for path in data.parent.iterdir()] == ["boot_id"]


def test_a_head_that_sealed_granules_need_is_on_the_disk_before_it_replaces_another(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal, sync, synced = written(data), os.fsync, []

    def noted(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").read_bytes())
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    journal.begin(SIZE, (BOB,))
    assert synced == [], "nothing was sealed that a power cut could take"
    journal.seal(b"\1")
    journal.begin(SIZE, (ALICE, BOB))

    assert synced == [data.with_suffix(".json").read_bytes()]
