"""What goes into a record: all of a version, or what leads to it; and real answers are read."""

import io
import json
import subprocess
import tarfile
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from fleet.invenio import Unfit, Wanted
from fleet.invenio.shapes import Held, record
from fleet.planning.repositories import RecordLimits, unfit
from fleet.repositories import Creator, Description, Licence, Paper, Text, composed
from fleet.repositories.describe import metadata, says
from tests.publish_support import DESCRIBED, FILES, sha256, wanted
from tests.zenodo_support import md5

REAL = Path(__file__).resolve().parents[2] / "shared" / "data" / "zenodo"
MANIFEST = Paper("manifest.json", b"{}")
TORRENTS = tuple(Paper(f"{number:03}.torrent", b"d%d" % number) for number in range(120))
MIRRORS = ("https://data.example.org/one/",)
TIB = 1024**4


def keys(files: tuple[Wanted, ...]) -> set[str]:
    return {one.key for one in files}


def test_a_version_that_fits_goes_into_its_record_with_its_papers(tmp_path: Path) -> None:
    found = composed(
        wanted(FILES), sha256(FILES), [MANIFEST], TORRENTS[:2], MIRRORS, RecordLimits()
    )
    papers = {"manifest.json", "SHA256SUMS", "MIRRORS.txt", "000.torrent", "001.torrent"}
    assert (found.whole, found.reason) == (True, "")
    assert keys(found.files) == papers | FILES.keys()
    for key, data in (FILES | found.papers).items():
        (tmp_path / key).parent.mkdir(exist_ok=True)
        (tmp_path / key).write_bytes(data)
        assert Wanted(key, len(data), md5(data)) in found.files
    check = ["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"]
    subprocess.run(check, cwd=tmp_path, check=True)
    assert found.papers["MIRRORS.txt"] == b"https://data.example.org/one/\n"


def test_a_version_that_is_too_large_gets_a_record_with_what_leads_to_it() -> None:
    data = [Wanted("a.parquet", 4 * TIB, "0" * 32)]
    sums = {"a.parquet": "0" * 64}
    found = composed(data, sums, [MANIFEST], TORRENTS[:2], MIRRORS, RecordLimits())
    assert (found.whole, keys(found.files)) == (False, found.papers.keys())
    assert "a record takes 50,000,000,000" in found.reason
    assert found.papers["SHA256SUMS"] == b"0" * 64 + b"  a.parquet\n"


def test_too_many_torrents_become_one_archive_that_is_the_same_each_time() -> None:
    data = [Wanted(f"{number}.parquet", TIB, "0" * 32) for number in range(120)]
    first, second = (
        composed(data, {}, [MANIFEST], torrents, (), RecordLimits())
        for torrents in (TORRENTS, TORRENTS[::-1])
    )
    assert first == second
    assert keys(first.files) == {"manifest.json", "SHA256SUMS", "torrents.tar"}
    with tarfile.open(fileobj=io.BytesIO(first.papers["torrents.tar"])) as archive:
        assert archive.getnames() == [one.key for one in TORRENTS]


def test_data_that_leave_no_room_for_papers_go_alone() -> None:
    data = [Wanted(f"{number}.csv", 1, "0" * 32) for number in range(100)]
    found = composed(data, {}, [MANIFEST], (), (), RecordLimits())
    assert (found.whole, len(found.files), found.papers) == (True, 100, {})
    with pytest.raises(Unfit, match="not even the papers"):
        composed(data, {}, [MANIFEST], (), (), RecordLimits(files=1))


def test_a_paper_never_takes_the_name_of_a_file() -> None:
    files = {"SHA256SUMS": b"theirs", "manifest.json": b"theirs", "fleet-manifest.json": b"x"}
    found = composed(wanted(files), {}, [MANIFEST], (), (), RecordLimits())
    assert keys(found.files) == files.keys() | {"fleet-SHA256SUMS", "fleet-fleet-manifest.json"}


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ([("a", 1)], ""),
        ([], "there is no file"),
        ([("a", 1), ("a", 1)], "two files have one name"),
        ([("", 1)], "'' is no name"),
        ([("a\nb", 1)], "is no name"),
        ([("a\\b", 1)], "is no name"),
        ([("é" * 255, 1)], ""),
        ([("é" * 256, 1)], "is no name"),
        ([("..", 1)], "is no name"),
        ([("a", 49 * 10**9), ("b", 10**9)], ""),
        ([("a", 49 * 10**9), ("b", 10**9 + 1)], "there are 50,000,000,001 bytes"),
        ([(str(number), 1) for number in range(101)], "there are 101 files"),
    ],
)
def test_limits_are_held_against_all_files_at_once(
    files: list[tuple[str, int]], reason: str
) -> None:
    found = unfit(files, RecordLimits())
    assert reason in found
    assert bool(reason) == bool(found)


def test_a_record_without_the_data_says_where_they_are_in_both_languages() -> None:
    told = metadata("urn:x", replace(DESCRIBED, whole=False))
    assert "too large for this repository" in told["description"]
    assert "trop volumineuses" in told["additional_descriptions"][0]["description"]
    relations = [one["relation_type"]["id"] for one in told["related_identifiers"]]
    assert relations == ["ismetadatafor"]


def test_a_record_may_be_french_first_and_its_licence_one_that_the_repository_has_not() -> None:
    described = Description(
        titles=(Text("fr", "Bâtiments"),),
        summaries=(Text("fr", "Tous."),),
        creators=(Creator("Tremblay", "Zoé", orcid="0000-0002-1825-0097"),),
        published=date(2026, 1, 2),
        label="1",
        licence=Licence(title="Licence du Québec", url="https://example.org/licence"),
        publisher="Data for Canada",
    )
    told = metadata("urn:x", described)
    assert (told["title"], told["languages"]) == ("Bâtiments", [{"id": "fra"}])
    assert "additional_titles" not in told
    assert told["rights"] == [
        {"title": {"en": "Licence du Québec"}, "link": "https://example.org/licence"}
    ]
    assert told["creators"][0]["person_or_org"]["identifiers"][0]["scheme"] == "orcid"
    with pytest.raises(ValueError, match="'de' is no language of a record: give en or fr"):
        metadata("urn:x", replace(described, titles=(Text("de", "Häuser"),)))
    with pytest.raises(ValueError, match="neither an id nor a title"):
        metadata("urn:x", replace(described, licence=Licence()))


def test_what_a_repository_adds_to_metadata_is_no_difference() -> None:
    wish = metadata("urn:x", DESCRIBED)
    found = json.loads(json.dumps(wish))
    found["rights"][0]["title"] = {"en": "CC BY"}
    found["copyright"] = "nobody"
    assert says(found, wish)
    found["creators"].pop()
    assert not says(found, wish)


SHAPES: dict[str, tuple[str, str, bool, set[Held]]] = {
    "zenodo_record_7078760_legacy.json": (
        "7078760",
        "10.5281/zenodo.7078760",
        True,
        {
            Held("data2.csv", 60, "cb4a683d8eecb72c9ac9beea91fd592e"),
            Held("data.csv", 114, "c028f525f314c49ea48ed09e82292ed2"),
            Held("datapackage.json", 1594, "127f3943c9a2fa7fe892c7159b6fbded"),
        },
    ),
    "d4c_sandbox_step06_283548_done.json": (
        "283548",
        "10.5072/zenodo.283548",
        True,
        {Held("43100024.parquet", 186230461, "ab89ee1b1f09834f78f8ad1b46e97659")},
    ),
    "d4c_sandbox_step01_283543_unsubmitted.json": ("283543", "", False, set()),
}


@pytest.mark.parametrize("name", SHAPES)
def test_real_answers_of_each_shape_give_files_with_md5(name: str) -> None:
    path = REAL / name
    if not path.exists():
        pytest.skip("the project's shared data are not here")
    body: dict[str, Any] = json.loads(path.read_text())
    found = record(body)
    told = (found.id, found.doi if found.published else "", found.published, set(found.files))
    assert told == SHAPES[name]
