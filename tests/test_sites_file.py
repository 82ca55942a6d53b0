"""The sites file, and the tokens that sites prove themselves with."""

import hashlib
import hmac
import subprocess
from pathlib import Path

import pytest
from sqlmodel import select

from fleet.control import sites
from fleet.control.errors import NotFoundError, RefusedError
from fleet.store.database import Store
from fleet.store.tables import Budget, Site, Window
from tests.api_support import served
from tests.centre_support import Centre

SAMPLE = Path(__file__).resolve().parents[1] / "ansible" / "sites.sample.yaml"
GOOD = "id: toronto, kind: node, driver: posix"
GB = 10**9


def _sites(store: Store) -> dict[str, Site]:
    with store.read() as session:
        return {site.id: site for site in session.exec(select(Site)).all()}


def _file(folder: Path, *lines: str) -> Path:
    """A sites file of these sites, each a line of YAML in braces."""
    path = folder / "sites.yaml"
    path.write_text("sites:\n" + "".join(f"  - {{{line}}}\n" for line in lines))
    return path


def _apply(store: Store, path: Path) -> list[str]:
    return sites.apply(store, sites.read(path))


def test_the_sample_holds_the_sites_of_the_fleet_with_their_laws_and_speeds(store: Store) -> None:
    names = {spec.id for spec in sites.read(SAMPLE)}
    assert sorted(_apply(store, SAMPLE)) == sorted(f"{name}: added" for name in names)
    known = _sites(store)
    assert names == set(known)
    assert names >= {"toronto", "amsterdam", "netcup", "r2", "source-coop", "zenodo"}
    netcup, vancouver = known["netcup"], known["internet-archive-vancouver"]
    assert (netcup.region, netcup.country, netcup.jurisdiction) == ("us-va", "US", "DE")
    assert (netcup.arch, netcup.capacity, netcup.trusted) == ("aarch64", 512 * GB, True)
    assert (vancouver.country, vancouver.jurisdiction) == ("CA", "US")
    assert vancouver.fronts == ["internet-archive-sf"]
    assert known["toronto"].capacity == known["amsterdam"].capacity == 950 * GB
    speeds = {name: known[name].speed_mbps for name in ("toronto", "amsterdam", "netcup")}
    assert speeds == {"toronto": 10_000, "amsterdam": 50_000, "netcup": 2_500}
    assert all(site.speed_mbps for site in known.values())
    assert all(site.token_hash is None for site in known.values())


def test_the_sample_brings_windows_and_budgets(store: Store) -> None:
    _apply(store, SAMPLE)
    with store.read() as session:
        windows = {row.site_id: row.timezone for row in session.exec(select(Window)).all()}
        budget = session.get_one(Budget, "internet-archive-sf")
    assert windows == {"toronto": "America/Toronto", "amsterdam": "Europe/Amsterdam"}
    assert (budget.streams, budget.bytes_per_second) == (2, 100 * 10**6)


def test_applied_again_nothing_changes(store: Store) -> None:
    _apply(store, SAMPLE)
    before = _sites(store)
    assert _apply(store, SAMPLE) == []
    assert _sites(store) == before
    with store.read() as session:
        assert len(session.exec(select(Window)).all()) == 2
        assert len(session.exec(select(Budget)).all()) == 3


def test_changes_are_said_and_a_token_outlives_them(sqlite_store: Store, tmp_path: Path) -> None:
    _apply(sqlite_store, _file(tmp_path, f"{GOOD}, slots: 4", "id: b, kind: node, driver: posix"))
    token = sites.make_token(sqlite_store, "toronto")
    changes = _apply(sqlite_store, _file(tmp_path, f"{GOOD}, slots: 9, country: CA"))
    assert sorted(changes) == [
        "b: not in the file, left as it is; say `retired: true` to retire it",
        "toronto: country, slots changed",
    ]
    assert _sites(sqlite_store)["toronto"].slots == 9
    with sqlite_store.read() as session:
        found = sites.by_token(session, token)
    assert found is not None
    assert found.id == "toronto"


def test_a_window_taken_out_of_the_file_is_gone(sqlite_store: Store, tmp_path: Path) -> None:
    window = "{timezone: Europe/Amsterdam, opens: '22:00', closes: '06:00'}"
    _apply(sqlite_store, _file(tmp_path, f"{GOOD}, windows: [{window}], budget: {{streams: 2}}"))
    _apply(sqlite_store, _file(tmp_path, GOOD))
    with sqlite_store.read() as session:
        assert session.exec(select(Window)).all() == []
        assert session.exec(select(Budget)).all() == []


def test_new_sites_have_published_shards_placed_anew(centre: Centre) -> None:
    centre.mirror("a.csv")
    centre.work()
    centre.apply_sites("toronto", "amsterdam", "netcup", "montreal")
    centre.work()
    assert centre.replicas()["montreal"] == ["available"]


@pytest.mark.parametrize(
    ("size", "count"),
    [
        ("950 GB", 950 * GB),
        ("1 TiB", 2**40),
        ("1.5TB", 1_500 * GB),
        ("2 mib", 2 * 2**20),
        ("3k", 3000),
        ("7 B", 7),
        ("12", 12),
    ],
)
def test_sizes_are_written_as_people_write_them(tmp_path: Path, size: str, count: int) -> None:
    [spec] = sites.read(_file(tmp_path, f"{GOOD}, capacity: {size}"))
    assert spec.capacity == count


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("id: toronto, kind: node", ["driver", "required"]),
        (f"{GOOD}, colour: red", ["colour", "not permitted"]),
        (f"{GOOD}, capacity: 9 parsecs", ["capacity", "'9 parsecs' is not a size"]),
        (f"{GOOD}, capacity: -5", ["capacity", "greater than or equal to 0"]),
        (f"{GOOD}, retired: perhaps", ["toronto.retired: ", "True, False or 'lost'"]),
        (f"{GOOD}, slots: 0", ["slots", "greater than or equal to 1"]),
        (f"{GOOD}, budget: {{streams: 0}}", ["budget", "streams"]),
        (f"{GOOD}, read_url: 'ftp://example.org'", ["read_url"]),
        (f"{GOOD}, read_url: 'https://me:secret@example.org/x'", ["read_url"]),
        (f"{GOOD}, read_url: 'https://example.org/x?token=secret'", ["read_url"]),
        (f"{GOOD}, read_url: 'http://['", ["read_url"]),
        (f"{GOOD}, peer: example.org", ["peer"]),
        (f"{GOOD}, country: NO", ["country", "string"]),  # YAML reads it as false
        ("id: Nord Ost, kind: node, driver: posix", ["id"]),
        ("id: toronto, kind: disk, driver: posix", ["kind", "'node'"]),
        (
            f"{GOOD}, windows: [{{timezone: America/Trono, opens: '1:00', closes: '2:00'}}]",
            ["timezone", "no time zone is called 'America/Trono'"],
        ),
        (
            f"{GOOD}, windows: [{{timezone: UTC, opens: '25:00', closes: '02:00'}}]",
            ["opens", "hour must be in 0..23"],
        ),
        (f"{GOOD}, fronts: [atlantis]", ["site toronto fronts atlantis, which is not there"]),
        (f"{GOOD}, fronts: [toronto]", ["site toronto fronts itself", "name under fronts only"]),
    ],
)
def test_a_bad_file_is_refused_in_one_line_that_names_the_field(
    tmp_path: Path, line: str, said: list[str]
) -> None:
    path = _file(tmp_path, line)
    message = _refusal(path)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    assert all(word in message for word in said), message


def test_a_site_that_is_there_twice_is_named(tmp_path: Path) -> None:
    path = _file(tmp_path, GOOD, "id: b, kind: node, driver: posix", GOOD)
    assert _refusal(path) == f"{path}: site toronto is there twice"


@pytest.mark.parametrize("text", [b"sites: [", b"", b"- toronto", b"site: []", b"sites: \xff"])
def test_what_is_no_sites_file_is_refused_by_its_name(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "other.yaml"
    path.write_bytes(text)
    assert _refusal(path).startswith(f"{path}: ")


def test_a_file_that_is_not_there_is_refused_by_its_name(tmp_path: Path) -> None:
    message = _refusal(tmp_path / "none.yaml")
    assert message.startswith(f"{tmp_path / 'none.yaml'}: ")
    assert "No such file" in message


def test_a_file_cannot_run_anything(tmp_path: Path) -> None:
    path, made = tmp_path / "evil.yaml", tmp_path / "made"
    path.write_text(f"sites: !!python/object/apply:os.mkdir ['{made}']\n")
    assert "constructor" in _refusal(path)
    assert not made.exists()


def test_the_whole_file_is_refused_for_one_bad_site(sqlite_store: Store, tmp_path: Path) -> None:
    path = _file(tmp_path, "id: good, kind: node, driver: posix", f"{GOOD}, slots: none")
    with pytest.raises(RefusedError, match="slots"):
        _apply(sqlite_store, path)
    assert _sites(sqlite_store) == {}


@pytest.mark.parametrize(
    ("site", "said"),
    [
        (f"{GOOD}, timezone: Amerika/Toronto", "toronto.timezone: no time zone is called 'Ame"),
        (f"{GOOD}, budget: {{streams: 0}}", "toronto.budget.streams: "),
        ("kind: node, driver: posix", "sites.1.id: Field required"),
    ],
)
def test_a_fault_is_named_by_its_site_and_not_by_what_found_it(
    tmp_path: Path, site: str, said: str
) -> None:
    assert said in _refusal(_file(tmp_path, site))


def test_a_token_is_long_and_only_its_digest_is_kept(sqlite_store: Store, tmp_path: Path) -> None:
    _apply(sqlite_store, _file(tmp_path, GOOD))
    token = sites.make_token(sqlite_store, "toronto")
    assert len(token) >= 43  # 32 bytes of chance
    digest = hashlib.sha256(token.encode()).hexdigest()
    assert _sites(sqlite_store)["toronto"].token_hash == digest
    database = Path(sqlite_store.engine.url.database or "")
    files = database.parent.glob(f"{database.name}*")
    # By another process: one that closes a database's file loses SQLite's locks on it (POSIX).
    stored = subprocess.run(["cat", *files], check=True, capture_output=True).stdout
    assert digest.encode() in stored
    assert token.encode() not in stored


def test_a_new_token_takes_the_old_ones_place(store: Store, tmp_path: Path) -> None:
    _apply(store, _file(tmp_path, GOOD, "id: b, kind: node, driver: posix"))
    old, other = sites.make_token(store, "toronto"), sites.make_token(store, "b")
    new = sites.make_token(store, "toronto")
    assert len({old, other, new}) == 3
    with store.read() as session:
        found = {token: sites.by_token(session, token) for token in (old, other, new, "")}
    assert {token: site and site.id for token, site in found.items()} == {
        old: None,
        other: "b",
        new: "toronto",
        "": None,
    }


def test_tokens_are_compared_with_every_site_and_in_constant_time(
    sqlite_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("a", "b", "c", "without")
    _apply(
        sqlite_store, _file(tmp_path, *(f"id: {one}, kind: node, driver: posix" for one in names))
    )
    tokens = [sites.make_token(sqlite_store, name) for name in names[:3]]
    compared: list[str] = []
    really = hmac.compare_digest

    def watched(stored: str, given: str) -> bool:
        compared.append(stored)
        return really(stored, given)

    monkeypatch.setattr(hmac, "compare_digest", watched)
    for token in (tokens[0], tokens[2], "wrong"):
        compared.clear()
        with sqlite_store.read() as session:
            sites.by_token(session, token)
        assert len(set(compared)) == 3


def test_a_token_for_nobody_is_refused(sqlite_store: Store) -> None:
    with pytest.raises(NotFoundError, match="no site 'atlantis'"):
        sites.make_token(sqlite_store, "atlantis")


def test_the_token_of_a_retired_site_opens_nothing(centre: Centre) -> None:
    with served(centre) as api:
        assert api.ask("toronto", "GET", "seeds").status_code == 200
        centre.apply_sites("toronto", retired=True)
        answer = api.ask("toronto", "GET", "seeds")
        assert answer.status_code == 403
        assert answer.json()["detail"] == "this token belongs to no active site"
        assert api.ask("amsterdam", "GET", "seeds").status_code == 200


def _refusal(path: Path) -> str:
    with pytest.raises(RefusedError) as caught:
        sites.read(path)
    return str(caught.value)
