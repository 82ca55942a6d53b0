import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

import workers.pull.landing as landing_module
from workers.pull.landing import FULL, Landing
from workers.storage import posix
from workers.storage.posix import PosixStorage

IO_ERROR = OSError(errno.EIO, "Input/output error")


class Yard:
    """A storage, what waits to land in it, and what was told of that."""

    def __init__(self, root: Path) -> None:
        self.storage = PosixStorage(root)
        self.told: dict[str, list[OSError | None]] = {}
        self.log: list[str] = []

    def stage(self, name: str) -> Path:
        part = self.storage.staging(name)
        part.write_text(name)
        return part

    def add(self, landing: Landing, name: str, path: str = "", *, synced: bool = False) -> Path:
        final = self.storage.root / (path or f"census/{name}")
        size = 0 if synced else len(name)
        landing.add(self.stage(name), final, synced, self.teller(name), size)
        return final

    def teller(self, name: str) -> Callable[[OSError | None], None]:
        def tell(error: OSError | None) -> None:
            self.log.append(f"told {name}")
            self.told.setdefault(name, []).append(error)

        return tell

    def fate(self, name: str) -> OSError | None:
        (error,) = self.told[name]
        return error


@pytest.fixture
def yard(tmp_path: Path) -> Yard:
    return Yard(tmp_path / "data")


def test_files_come_to_their_places_and_each_is_told_of_once(yard: Yard) -> None:
    with Landing(yard.storage) as landing:
        finals = [yard.add(landing, f"f{at}", f"a/{at % 3}/f{at}") for at in range(20)]
        assert not yard.told

    assert [final.read_text() for final in finals] == [f"f{at}" for at in range(20)]
    assert {final.stat().st_mode & 0o777 for final in finals} == {0o644}
    assert yard.told == {f"f{at}": [None] for at in range(20)}
    assert not list(yard.storage.staging_folder().iterdir())


def test_a_full_batch_lands_by_itself(yard: Yard) -> None:
    with Landing(yard.storage) as landing:
        for at in range(FULL - 1):
            yard.add(landing, f"f{at}")
        assert not yard.told

        yard.add(landing, "last")

        assert len(yard.told) == FULL


def test_a_batch_of_many_bytes_lands_before_it_has_many_files(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(landing_module, "FULL_BYTES", 4)

    with Landing(yard.storage) as landing:
        yard.add(landing, "one", synced=True)
        yard.add(landing, "two")
        assert not yard.told

        yard.add(landing, "more")

        assert sorted(yard.told) == ["more", "one", "two"]


def test_what_waits_is_landed_on_an_exception_too(yard: Yard) -> None:
    with pytest.raises(KeyboardInterrupt), Landing(yard.storage) as landing:  # noqa: PT012
        final = yard.add(landing, "f")
        raise KeyboardInterrupt

    assert final.exists()
    assert yard.fate("f") is None


def test_whoever_comes_after_it_was_left_is_told_so_at_once(yard: Yard) -> None:
    with Landing(yard.storage) as landing:
        pass

    final = yard.add(landing, "late")

    late = yard.fate("late")
    assert late is not None
    assert late.errno == errno.ECANCELED
    assert not final.exists()
    assert yard.storage.staging("late").exists()


def test_nothing_waits_and_nothing_is_landed(yard: Yard) -> None:
    with Landing(yard.storage) as landing:
        landing.flush()

    assert not yard.told


@pytest.mark.parametrize("path", ["census/taken", "census/" + "x" * 300, "census/file/below"])
def test_a_name_that_cannot_be_given_fails_that_file_alone(yard: Yard, path: str) -> None:
    (yard.storage.root / "census/taken/by").mkdir(parents=True)
    (yard.storage.root / "census/file").touch()

    with Landing(yard.storage) as landing:
        yard.add(landing, "bad", path)
        good = yard.add(landing, "good")

    assert isinstance(yard.fate("bad"), OSError)
    assert yard.fate("good") is None
    assert good.read_text() == "good"


@pytest.mark.parametrize("many", [2, 20])
def test_content_then_names_then_folders_are_durable_before_anyone_is_told(
    yard: Yard, monkeypatch: pytest.MonkeyPatch, many: int
) -> None:
    fsync, replace, syncfs = os.fsync, os.replace, posix._syncfs
    assert syncfs is not None

    def logged_fsync(descriptor: int) -> None:
        yard.log.append("folder" if _place(descriptor).is_dir() else "content")
        fsync(descriptor)

    def logged_replace(part: str, final: str) -> None:
        replace(part, final)
        yard.log.append("name")

    def logged_syncfs(descriptor: int) -> None:
        yard.log.append("content")
        syncfs(descriptor)

    monkeypatch.setattr(os, "fsync", logged_fsync)
    monkeypatch.setattr(os, "replace", logged_replace)
    monkeypatch.setattr(posix, "_syncfs", logged_syncfs)

    with Landing(yard.storage) as landing:
        for at in range(many):
            yard.add(landing, f"f{at}")

    contents = many if many < 5 else 1
    steps = [line.split()[0] for line in yard.log]
    assert steps == ["content"] * contents + ["name"] * many + ["folder"] * 2 + ["told"] * many


def test_what_its_owner_synced_is_not_synced_again(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = _count_synced(monkeypatch)

    with Landing(yard.storage) as landing:
        yard.add(landing, "f", synced=True)

    assert yard.fate("f") is None
    assert all(place.is_dir() for place in synced)


def test_after_a_failed_syncfs_no_unsynced_file_is_called_durable(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    syncfs = posix._syncfs
    monkeypatch.setattr(posix, "_syncfs", _fail)

    with Landing(yard.storage) as landing:
        lost = [yard.add(landing, f"f{at}") for at in range(20)]
        safe = yard.add(landing, "safe", synced=True)
        landing.flush()
        monkeypatch.setattr(posix, "_syncfs", syncfs)
        late = yard.add(landing, "late")

    assert all(yard.fate(f"f{at}") is IO_ERROR for at in range(20))
    assert yard.fate("late") is IO_ERROR
    assert yard.fate("safe") is None
    assert safe.exists()
    assert not any(final.exists() for final in (*lost, late))


def test_after_a_failed_fsync_no_unsynced_file_of_the_batch_is_called_durable(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Landing(yard.storage) as landing:
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", _fail)
            names = ["one", "two"]
            lost = [yard.add(landing, name) for name in names]
            landing.flush()
        yard.add(landing, "later")

    assert [yard.fate(name) for name in names] == [IO_ERROR, IO_ERROR]
    assert not any(final.exists() for final in lost)
    assert yard.fate("later") is None


def test_a_folder_that_cannot_be_synced_fails_the_files_in_it(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Landing(yard.storage) as landing:
        yard.add(landing, "f", synced=True)
        monkeypatch.setattr(os, "fsync", _fail)

    assert yard.fate("f") is IO_ERROR


def test_each_file_is_synced_where_one_call_for_all_is_not_to_be_had(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = _count_synced(monkeypatch)
    monkeypatch.setattr(posix, "_syncfs", None)

    with Landing(yard.storage) as landing:
        for at in range(20):
            yard.add(landing, f"f{at}")

    parts = [place.name for place in synced if place.suffix == ".part"]
    assert sorted(parts) == sorted(f"f{at}.part" for at in range(20))
    assert all(yard.fate(f"f{at}") is None for at in range(20))


def test_threads_fill_batches_together(yard: Yard) -> None:
    with Landing(yard.storage) as landing:

        def fill(number: int) -> None:
            for at in range(300):
                yard.add(landing, f"t{number}-{at}", f"t{number}/{at}")

        threads = [threading.Thread(target=fill, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert yard.told == {f"t{number}-{at}": [None] for number in range(4) for at in range(300)}
    assert len(list(yard.storage.root.glob("t*/*"))) == 1200


def test_a_staged_file_that_is_gone_fails_alone(yard: Yard) -> None:
    with Landing(yard.storage) as landing:
        landing.add(
            yard.storage.staging("gone"), yard.storage.root / "gone", True, yard.teller("gone")
        )
        yard.add(landing, "here")

    assert isinstance(yard.fate("gone"), FileNotFoundError)
    assert yard.fate("here") is None


def test_an_error_of_the_system_call_is_raised() -> None:
    assert posix._syncfs is not None

    with pytest.raises(OSError, match="Bad file descriptor"):
        posix._syncfs(-1)


@pytest.mark.parametrize("release", ["5.7.19", "4.19.0-27-amd64", "strange"])
def test_a_system_that_keeps_errors_back_is_not_relied_on(
    monkeypatch: pytest.MonkeyPatch, release: str
) -> None:
    told = os.uname()
    monkeypatch.setattr(os, "uname", lambda: os.uname_result((*told[:2], release, *told[3:])))

    assert posix._find_syncfs() is None


def _place(descriptor: int) -> Path:
    return Path(f"/proc/self/fd/{descriptor}").readlink()


def _fail(_: int) -> None:
    raise IO_ERROR


def _count_synced(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Note the path of everything that is synced by itself."""
    synced: list[Path] = []
    fsync = os.fsync

    def noted(descriptor: int) -> None:
        synced.append(_place(descriptor))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    return synced
