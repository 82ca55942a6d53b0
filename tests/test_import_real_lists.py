"""The nine lists that Data for Canada mirrors by, pinned.

The numbers were counted with grep and awk, not with the code under test:
``grep -vE '^\\s*(#|$)' LIST | awk -F'\\t' '{n[NF]++} END {for (k in n) print k, n[k]}'``.
"""

import re

import pytest

from fleet.importers import Draft, read_source
from tests.real_data import DATA, wanted

LISTS = DATA / "url_lists"

pytestmark = wanted

COUNTS = {
    "aria2-boundary_files_2021": (32, 2),
    "aria2-census_of_agriculture_2021": (6, 1),
    "aria2-census_of_population_files_2016": (10, 3),
    "aria2-census_of_population_files_2021": (11, 3),
    "aria2-geosuite_files": (5, 1),
    "aria2-national_address_register_files_2024_12": (1, 1),
    "odb_2025-04-15_files": (15, 1),
    "red-deer-2024": (1, 1),
    "vancouver-2022-index": (470, 1),
}


def read(name: str) -> Draft:
    return read_source(str(LISTS / f"{name}.txt"), import_root=LISTS)


def paths(draft: Draft) -> list[str]:
    return [artifact.path for artifact in draft.artifacts]


def test_all_nine_lists_are_pinned() -> None:
    assert {path.stem for path in LISTS.glob("*.txt")} == set(COUNTS)


@pytest.mark.parametrize("name", COUNTS)
def test_every_file_of_a_list_is_named_with_every_alternate(name: str) -> None:
    draft = read(name)
    files, sources = COUNTS[name]
    assert [len(artifact.sources) for artifact in draft.artifacts] == [sources] * files
    assert draft.name == name
    assert draft.kind == "list"
    assert draft.notes == ()
    assert not any(artifact.refused for artifact in draft.artifacts)
    listed = re.findall(
        r"https?://\S+", re.sub(r"(?m)^#.*", "", (LISTS / f"{name}.txt").read_text("utf-8"))
    )
    assert [url for artifact in draft.artifacts for url in artifact.sources] == listed


@pytest.mark.parametrize("name", COUNTS)
def test_every_file_keeps_the_name_that_all_its_urls_end_in(name: str) -> None:
    for artifact in read(name).artifacts:
        for url in artifact.sources:
            assert url.removesuffix("?download=1").rpartition("/")[2] == artifact.path


def test_the_census_of_2021_has_three_independent_sources_for_each_file() -> None:
    draft = read("aria2-census_of_population_files_2021")
    assert paths(draft) == [
        f"98-401-X20210{number}_eng_CSV.zip"
        for number in ("06", "07", "08", "09", "10", "29", "11", "12", "13", "14", "15")
    ]
    assert draft.artifacts[9].sources == (
        "https://archive.org/download/canadas-2021-census-of-population/98-401-X2021014_eng_CSV.zip",
        "https://zenodo.org/records/15334624/files/98-401-X2021014_eng_CSV.zip?download=1",
        "https://data.dataforcanada.org/archive/statistics_canada/census_of_population/2021/98-401-X2021014_eng_CSV.zip",
    )
    assert draft.artifacts[0].media_type == "application/zip"


def test_the_census_of_2016_ends_as_its_list_does() -> None:
    named = paths(read("aria2-census_of_population_files_2016"))
    assert named[0] == "98-401-X2016044_eng_CSV.zip"
    assert len(set(named)) == 10


def test_the_boundary_files_keep_their_order() -> None:
    named = paths(read("aria2-boundary_files_2021"))
    assert named[:3] == ["lpr_000a21a_e.zip", "lcd_000a21a_e.zip", "lfed000a21a_e.zip"]
    assert named[-2:] == ["lecu000e21a_e.zip", "leca000e21a_e.zip"]


def test_the_census_of_agriculture_keeps_double_extensions() -> None:
    named = paths(read("aria2-census_of_agriculture_2021"))
    assert named[0] == "CEAG21_VariablesDescriptions_REAG21_EN_FR.xlsx"
    assert named[2] == "CEAG21_Crops_Cultures_REAG21.gdb.zip"


def test_short_lists_are_named_in_full() -> None:
    assert paths(read("aria2-geosuite_files")) == [
        "2021_92-150-X_eng.zip",
        "GeoSuite_2016_92-150_XBB_eng.zip",
        "2011_92-150_XBB_eng.zip",
        "2006_92-150_XBB_eng.zip",
        "92F0150WCB2001000.zip",
    ]
    assert paths(read("aria2-national_address_register_files_2024_12")) == ["202412.zip"]
    assert paths(read("red-deer-2024")) == ["RD_Orthophotography_2024.zip"]
    tiles = ("QC_1", "QC_2", "ON_1", "ON_2", "ON_3")
    provinces = ("NL", "PE", "NS", "NB", *tiles, "MB", "SK", "AB", "BC", "YT", "NT")
    assert paths(read("odb_2025-04-15_files")) == [f"ODB_v3_{name}.zip" for name in provinces]


def test_the_tiles_of_vancouver_are_all_there_once() -> None:
    named = paths(read("vancouver-2022-index"))
    assert named[:5] == ["B12.zip", "B14.zip", "C14.zip", "D11.zip", "D9.zip"]
    assert "X9.zip" in named
    assert len({name.lower() for name in named}) == 470
