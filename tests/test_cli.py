"""The commands: what they print, and the one line and exit code when they are refused."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from sqlmodel import select

from fleet.control import sites
from fleet.store.database import Store
from fleet.store.tables import Replica
from tests.centre_support import Centre
from tests.cli_support import Run, refused, runner
from tests.databases import refusing

SAMPLE = Path(__file__).resolve().parents[1] / "ansible" / "sites.sample.yaml"
SOURCE = "https://origin.example/a.csv"


@pytest.fixture
def run(
    sqlite_store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Run:
    """Run a command as ``fleet`` would, against an empty database."""
    monkeypatch.setenv("FLEET_DATABASE_URL", str(sqlite_store.engine.url))
    return runner(tmp_path, monkeypatch, capsys)


@pytest.fixture
def on_each(
    database_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Run:
    """Run a command against an empty database of each kind."""
    monkeypatch.setenv("FLEET_DATABASE_URL", database_url)
    return runner(tmp_path, monkeypatch, capsys)


@pytest.fixture
def bare(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """Run a command on a machine that has no database yet."""
    monkeypatch.delenv("FLEET_DATABASE_URL", raising=False)
    return runner(tmp_path, monkeypatch, capsys)


def test_a_dry_run_shows_every_file_with_its_sources(bare: Run, tmp_path: Path) -> None:
    listing = tmp_path / "census.txt"
    listing.write_text(
        "# boundary files\n"
        "https://a.example/towns.zip\thttps://b.example/towns.zip\n"
        "  out=2021/towns.zip\n"
        "https://a.example/people.csv\n"
        "file:///etc/passwd\n"
    )
    ended = bare("import", "--dry-run", "--json", str(listing))
    assert (ended.code, ended.err) == (0, "")
    files = {one["path"]: one["sources"] for one in ended.json["artifacts"]}
    assert files == {
        "2021/towns.zip": ["https://a.example/towns.zip", "https://b.example/towns.zip"],
        "people.csv": ["https://a.example/people.csv"],
    }
    [refused] = ended.json["refused"]
    assert "file:///etc/passwd" in refused["reason"]
    people = bare("import", "--dry-run", str(listing))
    assert people.out.splitlines() == [
        "       ?  -           2021/towns.zip  (2 sources)",
        "       ?  -           people.csv  (1 source)",
        "2 files",
    ]
    assert people.err.startswith("refused: ")


def test_a_dry_run_shows_what_was_published_of_each_file(bare: Run, tmp_path: Path) -> None:
    assets = {
        "a": {"href": "https://a.example/a.tif", "file:size": 1_200_000},
        "b": {"href": "https://a.example/b.tif", "file:checksum": f"1220{'0' * 64}"},
    }
    document = tmp_path / "item.json"
    properties = {"title": "Roads", "license": "CC0-1.0"}
    item = {"type": "Feature", "id": "x", "properties": properties, "assets": assets}
    document.write_text(json.dumps(item))
    ended = bare("import", "--dry-run", str(document))
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.splitlines() == [
        "  1.2 MB  -           a.tif  (1 source)",
        "       ?  sha256      b.tif  (1 source)",
        "title: Roads",
        "licence: CC0-1.0",
        "2 files, 1.2 MB in 1 of them; 1 with a published checksum",
    ]


def test_an_import_that_is_no_dry_run_says_which_command_brings_it_in(bare: Run) -> None:
    refused(bare("import", SOURCE), "--dry-run", f"fleet mirror {SOURCE}")


def test_what_cannot_be_read_is_refused_by_its_name(bare: Run, tmp_path: Path) -> None:
    missing = tmp_path / "none.txt"
    refused(bare("import", "--dry-run", str(missing)), str(missing), "No such file")
    refused(bare("import", "--dry-run", "--json", "file:///etc/passwd"))


def test_without_a_database_every_command_says_what_to_do(bare: Run, tmp_path: Path) -> None:
    said = (str(tmp_path), "fleet upgrade", "FLEET_HOME", "FLEET_DATABASE_URL")
    for words in ("why data", "status", "site list", f"mirror {SOURCE}", "retry tr-1"):
        refused(bare(*words.split()), *said)


def test_a_home_that_is_not_there_is_named(
    bare: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLEET_HOME", str(tmp_path / "none"))
    refused(bare("status"), str(tmp_path / "none" / "fleet.db"), "FLEET_HOME")


def test_upgrade_makes_the_database_and_a_second_time_nothing(bare: Run, tmp_path: Path) -> None:
    for _ in range(2):
        assert bare("upgrade").code == 0
    assert (tmp_path / "fleet.db").is_file()
    assert bare("status", "--json").json == {"datasets": [], "sites": []}


def test_a_database_that_does_not_answer_keeps_its_password_to_itself(
    bare: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLEET_DATABASE_URL", "postgresql://fleet:hunter2@127.0.0.1:1/fleet")
    ended = bare("status")
    assert ended.code == 1
    assert ended.err.startswith("fleet: the database postgresql")
    assert "127.0.0.1:1/fleet" in ended.err
    assert "hunter2" not in ended.err


def test_the_sites_of_a_file_are_applied_listed_and_given_tokens(on_each: Run) -> None:
    applied = on_each("site", "apply", str(SAMPLE))
    assert applied.code == 0
    names = sorted(line.removesuffix(": added") for line in applied.out.splitlines())
    assert names == sorted(spec.id for spec in sites.read(SAMPLE))
    assert on_each("site", "apply", str(SAMPLE)).out == "nothing changed\n"
    listed = on_each("site", "list", "--json").json
    assert [one["id"] for one in listed] == names
    assert {(one["available"], one["bytes"], one["incident"]) for one in listed} == {(0, 0, "")}
    table = on_each("site", "list").out
    assert all(name in table for name in names)
    token = on_each("site", "token", "toronto").out.strip()
    assert len(token) >= 43
    assert token not in on_each("site", "list", "--json").out + on_each("status", "--json").out


def test_a_token_that_was_printed_belongs_to_the_site(run: Run, sqlite_store: Store) -> None:
    run("site", "apply", str(SAMPLE))
    token = run("site", "token", "netcup").out.strip()
    with sqlite_store.read() as session:
        found = sites.by_token(session, token)
    assert found is not None
    assert found.id == "netcup"


def test_a_bad_sites_file_or_an_unknown_site_isrefused(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "sites.yaml"
    path.write_text("sites:\n  - {id: toronto, kind: node, driver: posix, capacity: much}\n")
    refused(run("site", "apply", str(path)), str(path), "capacity", "'much' is not a size")
    assert run("site", "list", "--json").json == []
    refused(run("site", "token", "atlantis"), "there is no site 'atlantis'", "fleet site list")


def test_a_site_that_could_not_be_retired_ends_the_command_with_the_rest_told(
    run: Run, sqlite_store: Store, tmp_path: Path
) -> None:
    path = tmp_path / "sites.yaml"
    site = "id: {}, kind: node, driver: posix{}"
    for lost in ("", ", retired: lost"):
        lines = [f"  - {{{site.format(name, lost)}}}" for name in ("toronto", "netcup")]
        path.write_text("\n".join(["sites:", *lines]))
        with refusing(sqlite_store, "toronto"):
            ended = run("site", "apply", str(path))
    assert ended.code == 1
    assert ended.err.startswith("fleet: toronto could not be retired, apply the file again: ")
    assert "netcup: retired as lost" in ended.out
    assert "toronto: retired as lost" in run("site", "apply", str(path)).out


def test_a_mirror_is_asked_for_and_explained(on_each: Run) -> None:
    on_each("site", "apply", str(SAMPLE))
    rule = '{"copies": 2, "selector": "kind=node & jurisdiction!=us"}'
    asked = on_each(
        "mirror", SOURCE, "--dataset", "census", "--label", "2021", "--rule", rule, "--json"
    )
    assert (asked.code, asked.err) == (0, "")
    made = asked.json
    assert (made["dataset"], made["label"], made["artifacts"]) == ("census", "2021", 1)
    again = on_each("mirror", SOURCE, "--dataset", "census", "--label", "2021", "--rule", rule)
    assert again.out == f"census 2021: 1 files (asked for before), version {made['version']}\n"
    why = on_each("why", "census", "--json").json
    assert why["causes"][0]["thing"] == "census 2021"
    assert why["causes"][0]["reason"] == "waits for the scheduler"
    assert "waits for the scheduler" in on_each("why", made["version"]).out
    [line] = on_each("status", "--json").json["datasets"]
    assert (line["id"], line["version"], line["progress"]["artifacts"]) == ("census", "2021", 1)
    assert "census" in on_each("status").out


def test_status_tells_how_far_a_dataset_is(on_each: Run, database_url: str, tmp_path: Path) -> None:
    store = Store(database_url)
    centre = Centre(store, tmp_path)
    centre.apply_sites("toronto", "amsterdam")
    centre.mirror("a.csv", "b.csv")
    centre.work()
    with store.read() as session:
        replica = session.exec(select(Replica.id)).first()
    store.close()
    data = on_each("status", "--json").json
    [done] = [one["progress"] for one in data["datasets"]]
    assert (done["state"], done["known"], done["replicas_available"]) == ("published", 3, 4)
    assert {one["id"]: one["available"] for one in data["sites"]} == {"toronto": 2, "amsterdam": 2}
    assert "every byte was verified" in on_each("why", str(replica)).out


def test_an_unknown_name_is_refused_in_one_line(run: Run) -> None:
    for name in ("atlantis", "ve-none", "", "a name\nof two lines"):
        refused(run("why", name), "nothing is called", "give a dataset, site, or the id of")


def test_a_bad_rule_is_refused_and_names_its_part(run: Run) -> None:
    for rule, said in (
        ("{", "--rule is not JSON"),
        ("[]", "dictionary"),
        ('{"copies": 0}', "rule, copies: "),
        ('{"copies": "two"}', "rule, copies: "),
        ('{"copies": 1, "min": 3}', "rule, min: Value error, 3 is more than the number of copies"),
        ('{"spread_by": ["colour"]}', "cannot spread by 'colour'"),
        ('{"spread": ["country"]}', "rule, spread: "),
        ('{"deadline": "soon"}', "rule, deadline: "),
    ):
        refused(run("mirror", SOURCE, "--rule", rule), said)
    assert run("status", "--json").json["datasets"] == []


def test_a_bad_selector_is_refused_and_pointed_at(run: Run) -> None:
    ended = run("mirror", SOURCE, "--rule", '{"selector": "kind=node & knd=x"}')
    assert (ended.code, ended.out) == (1, "")
    first = ended.err.splitlines()[0]
    assert first.startswith("fleet: rule, selector: ")
    assert "character 13: sites have no 'knd', only id, kind" in first
    assert "Traceback" not in ended.err
    assert run("status", "--json").json["datasets"] == []


def test_bad_names_and_sources_arerefused(run: Run, tmp_path: Path) -> None:
    refused(run("mirror", SOURCE, "--dataset", "../up"), "dataset '../up'", "letters, digits")
    refused(run("mirror", SOURCE, "--label", "a b"), "version 'a b'")
    refused(run("mirror", str(tmp_path / "none.txt")), "No such file")
    refused(run("retry", "tr-none"), "there is no transfer 'tr-none'")
    refused(run("report", "toronto", "slow"), "there is no site 'toronto'")
    refused(run("report", "toronto", "ugly"), "a symptom is one of unreachable, slow")
    assert run("status", "--json").json["datasets"] == []


def test_wrong_usage_has_an_exit_code_of_its_own(bare: Run) -> None:
    assert bare("mirro").code == 2
    assert bare("why").code == 2


def test_as_a_real_process_it_prints_json_alone_and_ends_with_its_exit_code(
    sqlite_store: Store, tmp_path: Path
) -> None:
    listing = tmp_path / "list.txt"
    listing.write_text(f"{SOURCE}\n")
    database = str(sqlite_store.engine.url)
    shown = _process(tmp_path, database, "import", "--dry-run", "--json", str(listing))
    assert (shown.returncode, shown.stderr) == (0, "")
    assert [one["path"] for one in json.loads(shown.stdout)["artifacts"]] == ["a.csv"]
    unknown = _process(tmp_path, database, "why", "atlantis")
    assert (unknown.returncode, unknown.stdout) == (1, "")
    assert unknown.stderr.startswith("fleet: nothing is called 'atlantis'")
    assert unknown.stderr.count("\n") == 1


def _process(home: Path, database: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "fleet", *words],
        env={"FLEET_HOME": str(home), "FLEET_DATABASE_URL": database},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_traffic_shows_each_sites_next_window_and_why(run: Run) -> None:
    run("site", "apply", str(SAMPLE))
    told = run("traffic", "--json").json
    toronto = next(one for one in told["sites"] if one["site"] == "toronto")
    assert toronto["bwlimit"].startswith("Mon-00:00,off Mon-06:00,1M")
    assert len(toronto["upcoming"]) >= 14
    netcup = next(one for one in told["sites"] if one["site"] == "netcup")
    assert "measured for less than two weeks" in netcup["reason"]
    assert "declared in the sites file" in " ".join(run("traffic").out.split())
    assert "quiet hours of netcup" in " ".join(run("why", "netcup").out.split())
