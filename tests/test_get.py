"""`fleet get`: a version from the mirrors that a signed catalogue names, whoever of them lies."""

import io
import json
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fleet.catalogue.entry import Dataset
from fleet.cli.get import lists, where
from fleet.planning.states import VersionState
from tests.cli_support import Ended, refused
from tests.fault_exchange import Exchange
from tests.fault_server import FaultServer
from tests.get_support import (
    DATASET,
    LABEL,
    MANIFEST,
    Made,
    User,
    World,
    downloading,
    made,
    sha256,
    world,
)
from tests.pull_support import noise, until

pytestmark = pytest.mark.usefixtures("scripted")
MIB = 1024 * 1024
NAME = "census.parquet"
BODY = noise(20 * MIB + 345)
MANY = {f"tables/{number % 7}/{number:03}.csv": noise(700 + number, number) for number in range(90)}


@pytest.fixture
def there(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path) as found:
        yield found


@pytest.fixture
def user(
    there: World,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> User:
    return downloading(there, tmp_path, monkeypatch, capsys)


@pytest.fixture
def census(there: World) -> Made:
    """A version of one large file and its manifest, at two mirrors."""
    version = there.tell(made({NAME: BODY}), "amsterdam", "toronto")
    there.serve(version, "amsterdam", "toronto")
    return version


@pytest.fixture
def tables(there: World) -> Made:
    """A version of many small files, at two mirrors."""
    version = there.tell(made(MANY), "amsterdam", "toronto")
    there.serve(version, "amsterdam", "toronto")
    return version


def came_whole(ended: Ended, user: User, version: Made) -> None:
    assert ended.code == 0, ended
    assert user.files() == version.files
    assert not (user.folder / ".staging").exists()


def liars(ended: Ended) -> list[tuple[str, str]]:
    return [(one["site"], one["path"]) for one in ended.json["corrupt"]]


def test_a_version_comes_whole_from_several_mirrors(there: World, user: User, census: Made) -> None:
    ended = user.get(DATASET)

    came_whole(ended, user, census)
    assert ended.err == ""
    assert ended.out.startswith(f"{DATASET}@{LABEL}: 2 of 2 files in {user.folder}, 21 MB, ")
    for site in ("amsterdam", "toronto"):
        assert there.mirrors[site].sent[there.at(NAME)] > 0
        assert f"from {site} (127.0.0.1:" in ended.out


def test_what_is_there_already_is_read_and_not_fetched(
    there: World, user: User, census: Made
) -> None:
    user.get(DATASET)
    before = dict(there.mirrors["amsterdam"].sent)
    ended = user.get(f"{DATASET}@{LABEL}")

    came_whole(ended, user, census)
    assert "nothing had to be fetched" in ended.out
    assert there.mirrors["amsterdam"].sent == before


def test_a_wrong_file_in_the_place_is_kept_aside(there: World, user: User, census: Made) -> None:
    user.folder.mkdir()
    (user.folder / NAME).write_bytes(b"mine")

    ended = user.get(DATASET)

    came_whole(ended, user, census)
    assert "did not match; it is kept in" in ended.err
    (kept,) = (user.folder / ".quarantine").rglob("data")
    assert kept.read_bytes() == b"mine"


def test_a_mirror_with_wrong_bytes_is_named_and_the_right_ones_are_delivered(
    there: World, user: User, census: Made
) -> None:
    there.lie("amsterdam", NAME, BODY)

    ended = user.get(DATASET, "--json")

    came_whole(ended, user, census)
    (lie,) = ended.json["corrupt"]
    assert (lie["site"], lie["path"]) == ("amsterdam", NAME)
    assert lie["url"] == there.mirrors["amsterdam"].url(there.at(NAME))
    assert lie["wrong"]
    assert not ended.json["reported"]  # this centre does not know of reports


def test_of_a_torrent_by_itself_the_liar_is_found_by_its_pieces(there: World, user: User) -> None:
    version = there.tell(made({NAME: BODY}, [[NAME]]), "amsterdam", "toronto")
    there.serve(version, "amsterdam", "toronto")
    there.lie("amsterdam", NAME, BODY)

    ended = user.get(DATASET, "--json")

    came_whole(ended, user, version)
    assert liars(ended) == [("amsterdam", NAME)]
    assert "piece" in ended.json["corrupt"][0]["wrong"]
    assert ended.json["bytes"] < 1.9 * len(BODY)


def test_where_all_mirrors_have_wrong_bytes_nothing_is_seen(
    there: World, user: User, census: Made
) -> None:
    for site in ("amsterdam", "toronto"):
        there.lie(site, NAME, BODY)

    ended = user.get(DATASET, NAME)

    assert (ended.code, ended.out) == (1, ""), ended
    assert user.files() == {}
    assert "amsterdam sent wrong bytes of http" in ended.err
    assert "toronto sent wrong bytes of http" in ended.err
    assert "the centre could not be told of that: it answers 404" in ended.err


def test_one_honest_mirror_is_enough(there: World, user: User) -> None:
    version = there.tell(made({NAME: BODY}), "amsterdam", "netcup", "toronto")
    there.serve(version, "toronto")
    there.lie("amsterdam", NAME, BODY)
    there.mirrors["netcup"].serve(there.at(NAME), BODY[:-1])

    ended = user.get(DATASET, "--json")

    came_whole(ended, user, version)
    assert liars(ended) == [("amsterdam", NAME), ("netcup", NAME)]


@pytest.mark.parametrize(
    ("fault", "options"),
    [
        ("truncated", {"cuts": (100, 50_000, None)}),
        ("status", {"code": 404}),
        ("status", {"code": 503, "headers": {"Retry_After": 3600}}),
        ("silent", {}),
        ("stalling", {}),
        ("garbage", {}),
        ("html", {}),
        ("endless_chunked", {}),
        ("resetting", {}),
    ],
)
def test_a_mirror_in_trouble_costs_no_byte(
    there: World, user: User, census: Made, fault: str, options: dict[str, object]
) -> None:
    there.mirrors["amsterdam"].serve(there.at(NAME), BODY, fault, **options)

    came_whole(user.get(DATASET), user, census)


def test_many_files_come_by_the_list_beside_the_entry(
    there: World, user: User, tables: Made
) -> None:
    ended = user.get(DATASET)

    came_whole(ended, user, tables)
    for site in ("amsterdam", "toronto"):  # each is the first for a half of them
        asked = {one.path for one in there.mirrors[site].requests}
        assert len(asked) > len(MANY) / 4, site


@pytest.mark.parametrize("gone", [True, False])
def test_with_the_centre_gone_the_manifest_tells_the_files(
    there: World, user: User, tables: Made, gone: bool
) -> None:
    if gone:
        there.centre.stop()
    else:
        for path, file in there.centre.files.items():
            there.centre.serve(path, file.body[:-1] + b"?")

    came_whole(user.get(DATASET), user, tables)


def test_a_list_that_is_wrong_everywhere_is_believed_nowhere(
    there: World, user: User, tables: Made
) -> None:
    there.centre.stop()
    for site in ("amsterdam", "toronto"):
        there.lie(site, MANIFEST, tables.files[MANIFEST])

    refused(user.get(DATASET), "which files it has cannot be found out", "its bytes are not those")
    assert user.files() == {}


def test_a_mirror_that_lied_is_asked_no_more_but_for_what_nobody_else_has(
    there: World, user: User, tables: Made
) -> None:
    first, second, *_, last = sorted(MANY)
    for path in (first, second):  # amsterdam is the first to be asked for one of them
        there.lie("amsterdam", path, MANY[path])
    del there.mirrors["toronto"].files[there.at(last)]

    ended = user.get(DATASET, "--json")

    came_whole(ended, user, tables)
    assert liars(ended) in ([("amsterdam", first)], [("amsterdam", second)])


def test_files_folders_and_patterns_are_picked(user: User, tables: Made) -> None:
    user.get(DATASET, "tables/0/000.csv", "tables/3", "*/05?.csv")

    wanted = {
        path
        for path in MANY
        if path == "tables/0/000.csv" or path.startswith("tables/3/") or path[-7:-5] == "05"
    }
    assert set(user.files()) == wanted


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("cencus",), "no dataset 'cencus': did you mean census?"),
        (("census@v2",), "has no version 'v2'; it has v1"),
        (("census", "tabels/0/000.csv"), "no file of it is called 'tabels/0/000.csv': did you"),
        (("census", "*.parquet"), "no file of it is like '*.parquet'"),
    ],
)
def test_what_is_not_there_is_refused_with_what_comes_near(
    user: User, tables: Made, words: tuple[str, ...], said: str
) -> None:
    refused(user.get(*words), said)
    assert not user.folder.exists()


def test_a_version_that_was_withdrawn_is_refused(there: World, user: User) -> None:
    old = made({NAME: b"old"}, label="v0")
    withdrawn = replace(old.entry, state=VersionState.WITHDRAWN, mirrors=())
    there.publish(Dataset(DATASET, (withdrawn,)))

    refused(user.get(f"{DATASET}@v0"), "census@v0 was withdrawn by those who made it")
    refused(user.get(DATASET), "no version that is meant to be taken now", "v0")


def test_a_superseded_version_comes_and_is_told_to_be_one(there: World, user: User) -> None:
    version = there.tell(made({NAME: b"a,b\n"}), "toronto", state=VersionState.SUPERSEDED)
    there.serve(version, "toronto")

    ended = user.get(f"{DATASET}@{LABEL}")

    came_whole(ended, user, version)
    assert "fleet: census@v1 is not the latest version of census" in ended.err


def test_some_files_of_many_are_an_exit_code_of_their_own(
    there: World, user: User, tables: Made
) -> None:
    for site in ("amsterdam", "toronto"):
        del there.mirrors[site].files[there.at("tables/0/000.csv")]

    ended = user.get(DATASET)

    assert ended.code == 3
    assert "90 of 91 files" in ended.out
    assert "tables/0/000.csv: " in ended.err
    assert len(user.files()) == 90


def test_private_addresses_are_asked_only_where_that_is_allowed(
    there: World, user: User, census: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FLEET_ALLOW_NETWORKS")

    ended = user.get(DATASET)

    assert ended.code == 1
    assert "127.0.0.1 is not public; FLEET_ALLOW_NETWORKS names the private networks" in ended.err
    assert there.mirrors["amsterdam"].requests == there.centre.requests == []


def test_what_the_disk_cannot_take_is_refused_before_it_is_full(
    there: World, user: User, census: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.storage.posix.PosixStorage.free", lambda _: len(BODY))

    refused(user.get(DATASET), "21 MB are still to come, and the disk of", "choose another folder")
    assert user.get(DATASET, MANIFEST).code == 0


@pytest.mark.parametrize(
    "path", ["../a.csv", "/etc/passwd", ".ssh/keys", "a\\b", "a//b", "a\n.csv"]
)
def test_a_path_that_leads_elsewhere_is_refused(there: World, user: User, path: str) -> None:
    version = made({NAME: b"x"})
    hostile = replace(version.entry.artifacts[0], path=path)
    others = [one for one in version.entry.artifacts if one.role == "manifest"]
    entry = replace(version, entry=replace(version.entry, artifacts=(hostile, *others)))
    there.tell(entry, "toronto")

    ended = user.get(DATASET)

    assert (ended.code, user.files()) == (1, {}), ended
    assert there.mirrors["toronto"].requests == []


def test_a_folder_that_leads_elsewhere_is_not_followed(
    user: User, tables: Made, tmp_path: Path
) -> None:
    user.folder.mkdir()
    (user.folder / "tables").symlink_to(tmp_path / "elsewhere")

    refused(user.get(DATASET), "is a symbolic link")


def test_a_list_too_long_is_not_read(
    there: World, user: User, tables: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lists, "MAX_LIST", 1000)

    refused(user.get(DATASET), "is longer than 1,000")


def test_a_catalogue_that_was_changed_after_it_was_synced_is_not_read(
    there: World, user: User, census: Made
) -> None:
    table = (there.synced / "current" / "catalogue.parquet").resolve()
    table.write_bytes(table.read_bytes()[:-1] + b"?")

    refused(user.get(DATASET), "its bytes are not those that were signed")


def test_the_table_that_was_checked_is_read_whatever_is_synced_meanwhile(
    there: World, census: Made
) -> None:
    table = where.table([str(there.synced)], "", quiet=True)
    checked = table.read_bytes()

    there.sign({"catalogue.parquet": b"another"})

    assert (there.synced / "current" / "catalogue.parquet").read_bytes() == b"another"
    assert table.read_bytes() == checked


@pytest.mark.parametrize(
    "odd",
    [
        {"other": [1]},
        {"collection": [1]},
        {"collection": [DATASET]},
        {"collection": [DATASET], "properties": [None], "id": ["x"]},
        {"collection": [[DATASET]]},
    ],
)
def test_a_table_of_something_else_is_refused_whoever_signed_it(
    there: World, user: User, odd: dict[str, list[Any]]
) -> None:
    file = io.BytesIO()
    pq.write_table(pa.table(odd), file)
    there.sign({"catalogue.parquet": file.getvalue()})

    refused(user.get(DATASET), "catalogue.parquet is no catalogue in both languages")


def test_a_mirror_of_the_catalogue_is_synced_first_and_what_came_serves_on(
    there: World, user: User, census: Made
) -> None:
    with FaultServer() as published:
        for file in there.office.place.rglob("*"):
            if file.is_file():
                name = file.relative_to(there.office.place).as_posix()
                published.serve(name, file.read_bytes())
        told = ["--from", published.url("")]
        refused(user.get(DATASET, *told), "--root-sha256 HEX")
        told += ["--root-sha256", there.office.first.sha256]
        came_whole(user.get(DATASET, *told), user, census)
    ended = user.get(DATASET, *told)

    came_whole(ended, user, census)
    assert "no mirror has a catalogue that can be believed" in ended.err


def test_a_killed_download_fetches_only_what_it_had_not(
    there: World, user: User, census: Made
) -> None:
    assert interrupted(there, user, census, lambda process: process.kill()) == -signal.SIGKILL


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_download_says_how_to_go_on(
    there: World, user: User, census: Made, number: signal.Signals
) -> None:
    said: list[str] = []

    def stop(process: subprocess.Popen[str]) -> None:
        process.send_signal(number)
        said.append(process.communicate(timeout=60)[1])

    assert interrupted(there, user, census, stop) == 128 + number
    assert said[0].endswith("run the same command to go on\n")
    assert "fleet: stopped; " in said[0]


def interrupted(
    there: World, user: User, census: Made, end: Callable[[subprocess.Popen[str]], None]
) -> int:
    """Have a download end after most of a file came; it is gone on with.  Give its exit code."""
    there.mirrors["toronto"].stop()
    server = there.mirrors["amsterdam"]
    server.serve(there.at(NAME), BODY, "scripted", answer=begin)
    with user.process(DATASET) as process:
        until(lambda: staged(user) >= 14 * MIB, seconds=60)
        end(process)
        code = process.wait(60)
    assert NAME not in user.files()
    server.serve(there.at(NAME), BODY)
    before = server.sent[there.at(NAME)]

    came_whole(user.get(DATASET), user, census)

    assert server.sent[there.at(NAME)] - before <= len(BODY) - 12 * MIB
    return code


def begin(exchange: Exchange) -> None:
    """Send most of a file in one answer, and then nothing more."""
    exchange.whole()
    exchange.proper_head(Accept_Ranges=None)
    exchange.send(exchange.data()[: 15 * MIB])
    exchange.hold()


def staged(user: User) -> int:
    parts = (user.folder / ".staging").glob("*.part")
    return sum(part.stat().st_blocks * 512 for part in parts)


def test_a_program_is_told_all(user: User, census: Made) -> None:
    ended = user.get(DATASET, "--json")

    told = json.loads(ended.out)
    assert (told["dataset"], told["version"], told["complete"]) == (DATASET, LABEL, True)
    (data,) = [one for one in told["files"] if one["path"] == NAME]
    assert (data["size"], data["sha256"], data["ok"]) == (len(BODY), sha256(BODY), True)
    assert {one["site"] for one in told["sources"]} == {"amsterdam", "toronto"}
    assert (told["corrupt"], ended.err) == ([], "")
