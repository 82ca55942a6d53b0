"""`fleet catalogue …` as commands: what they print, and how they end."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fleet.catalogue.signing.publishing import publish as signed
from fleet.cli import main as cli
from fleet.settings import CentreSettings
from tests.cli_support import Ended
from tests.fault_server import FaultServer
from tests.signing_support import ONE, TWO, files_in, offer

Run = Callable[..., Ended]


@pytest.fixture
def fleet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """What runs `fleet catalogue …` in a folder, with its keys and repository below `home`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FLEET_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "200")

    def run(*words: str | Path) -> Ended:
        monkeypatch.setattr(sys, "argv", ["fleet", "catalogue", *(str(word) for word in words)])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        return Ended(int(caught.value.code or 0), *capsys.readouterr())

    return run


@pytest.fixture
def sha256(fleet: Run) -> str:
    """The first root's digest, once something was published."""
    made = fleet("keys", "init", "--root-key", "root.pem", "--json").json
    publish(ONE)
    found: str = made["sha256"]
    return found


def publish(files: dict[str, bytes]) -> None:
    settings = CentreSettings()
    for name, body in files.items():
        Path(name).write_bytes(body)
    signed(
        settings.catalogue,
        {name: Path(name) for name in files},
        settings.catalogue_keys,
        datetime.now(UTC),
    )


def test_keys_are_made_shown_and_replaced_without_ever_being_printed(fleet: Run) -> None:
    made = fleet("keys", "init", "--root-key", "a.pem", "--root-key", "b.pem", "--threshold", "2")
    assert (made.code, made.err) == (0, "")
    assert "signed by 2 of 2 keys" in made.out
    assert "a root key, to be put away: b.pem" in made.out
    (first,) = fleet("keys", "show", "--json").json["roots"]
    words = ["--root-key", "a.pem", "--root-key", "b.pem", "--new-root-key", "c.pem"]
    replaced = fleet("keys", "rotate", *words, "--online", "--drop", first["keys"]["root"][0])
    assert replaced.code == 0
    shown = fleet("keys", "show")
    told = fleet("keys", "show", "--json").json
    assert [one["version"] for one in told["roots"]] == [1, 2]
    assert told["warnings"] == []
    for one in told["roots"]:
        assert one["sha256"] in shown.out
    printed = "".join(each.out + each.err for each in (made, replaced, shown))
    assert "PRIVATE" not in printed
    for path in (*Path().glob("*.pem"), Path("home/catalogue-keys.json")):
        assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["rotate", "--root-key", "gone.pem"], "gone.pem is not there"),
        (["rotate", "--root-key", "home/catalogue-keys.json"], "holds no private key"),
        (["init", "--root-key", "x.pem"], "has a root"),
        (["rotate", "--root-key", "root.pem", "--threshold", "2"], "2 of 1 root keys"),
    ],
)
def test_what_cannot_be_done_with_keys_is_said_in_one_line(
    fleet: Run, sha256: str, words: list[str], said: str
) -> None:
    ended = fleet("keys", *words)
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.startswith("fleet: ")
    assert ended.err.count("\n") == 1
    assert said in ended.err


def test_keys_that_do_not_fit_are_told_of(fleet: Run, sha256: str) -> None:
    Path("home/catalogue-keys.json").chmod(0o644)
    shown = fleet("keys", "show")
    assert shown.code == 0
    assert "can be read by others (mode 0644)" in shown.err


def test_a_catalogue_is_synced_over_http_and_verified(
    fleet: Run, sha256: str, server: FaultServer
) -> None:
    mirror = offer(server, Path("home/catalogue"))
    ended = fleet("sync", mirror.name, "--to", "here", "--root-sha256", sha256)
    assert ended.code == 0, ended
    assert "here/current is now state 1: 2 files, 4.0 kB; signed as the newest on" in ended.out
    assert files_in(Path("here/current")) == ONE
    again = fleet("sync", mirror.name, "--to", "here", "--json")
    assert again.err == ""
    told = again.json
    assert (told["changed"], told["refused"], told["state"]) == (False, [], 1)
    assert [one["path"] for one in told["files"]] == sorted(ONE)
    assert told["age_seconds"] >= 0
    verified = fleet("verify", "here", "--json")
    assert (verified.code, verified.json["good"], verified.json["faults"]) == (0, True, [])


def test_a_mirror_that_lies_is_named_and_the_others_serve(
    fleet: Run, sha256: str, server: FaultServer
) -> None:
    mirror = offer(server, Path("home/catalogue"))
    server.serve("metadata/timestamp.json", b"<html>")
    shutil.copytree("home/catalogue", "usb")
    words = ["--to", "here", "--root", "usb/metadata/1.root.json"]
    ended = fleet("sync", mirror.name, "usb", *words)
    assert ended.code == 0
    assert f"fleet: {mirror.name} was not used: it sends what is no metadata" in ended.err
    alone = fleet("sync", mirror.name, "--to", "here")
    assert (alone.code, alone.out) == (1, "")
    assert "what was synced before is still there" in alone.err


def test_damage_is_found_and_mended(fleet: Run, sha256: str) -> None:
    fleet("sync", "home/catalogue", "--to", "here", "--root-sha256", f"sha256:{sha256.upper()}")
    Path("here/current/catalogue.parquet").write_bytes(b"rotten")
    ended = fleet("verify", "here")
    assert ended.code == 1
    assert "fleet: catalogue.parquet: its bytes are not those that were signed" in ended.err
    assert "mended: catalogue.parquet" in fleet("sync", "home/catalogue", "--to", "here").out
    assert fleet("verify", "here").code == 0


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["sync", "home/catalogue", "--to", "here"], 1, "--root-sha256 HEX"),
        (["sync", "ftp://a.example/", "--to", "here"], 1, "give an http or https URL"),
        (["sync", "home/catalogue", "--to", "root.pem", "--root-sha256", "0" * 64], 1, "root.pem"),
        (["sync", "home/catalogue", "--to", "here", "--root", "gone"], 1, "gone cannot be read"),
        (["sync", "home/catalogue", "--to", "here", "--root-sha256", "zz"], 2, "64 hex digits"),
        (["sync", "--to", "here"], 2, "Missing argument"),
        (["verify", "here"], 1, "has no catalogue"),
    ],
)
def test_what_cannot_be_synced_is_said(
    fleet: Run, sha256: str, words: list[str], code: int, said: str
) -> None:
    ended = fleet(*words)
    assert (ended.code, ended.out) == (code, "")
    assert said in ended.err
    assert not Path("here/current").exists()


def test_a_folder_that_cannot_be_written_is_named(fleet: Run, sha256: str) -> None:
    if os.geteuid() == 0:
        Path("here").mkdir()
        Path("here/states").write_bytes(b"in the way")
    else:
        Path("here").mkdir(mode=0o500)
    ended = fleet("sync", "home/catalogue", "--to", "here", "--root-sha256", sha256)
    assert (ended.code, ended.out) == (1, "")
    assert "here/states" in ended.err


def test_a_client_loads_neither_store_nor_broker(fleet: Run, sha256: str) -> None:
    program = "import sys; from fleet.cli.catalogue import sync, verify; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert not {b"sqlalchemy", b"celery", b"redis", b"fleet.store"} & set(done.stdout.split())


def test_news_come_with_the_next_sync(fleet: Run, sha256: str) -> None:
    fleet("sync", "home/catalogue", "--to", "here", "--root-sha256", sha256)
    publish(TWO)
    assert "is now state 2" in fleet("sync", "home/catalogue", "--to", "here").out
    assert files_in(Path("here/current")) == TWO
