"""Where a file is read, by the layout of each kind of place."""

import pytest

from fleet.planning.reading import Reading, expanded

FOLDER = "census/2021.v1"
NODE = Reading("posix", "https://toronto.example/")
BUCKET = Reading("s3", "https://files.example/mirror")
ITEMS = Reading("internet-archive", "https://archive.org/download", "dfc")
RECORD = Reading("zenodo", "https://zenodo.org/records", "7078760")


@pytest.mark.parametrize(
    ("at", "path", "url"),
    [
        (NODE, "a.csv", "https://toronto.example/census/2021.v1/a.csv"),
        (
            NODE,
            "cartes/é ü#.csv",
            f"https://toronto.example/{FOLDER}/cartes/%C3%A9%20%C3%BC%23.csv",
        ),
        (BUCKET, "raw/a.csv", "https://files.example/mirror/census/2021.v1/raw/a.csv"),
        (ITEMS, "raw/a b.csv", "https://archive.org/download/dfc_census_2021.v1/raw/a%20b.csv"),
        (RECORD, "a.csv", "https://zenodo.org/records/7078760/files/a.csv?download=1"),
        (
            RECORD,
            "raw/a?b.csv",
            "https://zenodo.org/records/7078760/files/raw%2Fa%3Fb.csv?download=1",
        ),
    ],
)
def test_a_file_is_read_where_its_place_has_it(at: Reading, path: str, url: str) -> None:
    assert at.url(FOLDER, path) == url


def test_an_item_whose_name_tells_too_little_is_told_apart_by_a_digest() -> None:
    """As it was written: both sides go by ``planning.items``."""
    url = ITEMS.url("Recensement Été/v1", "a.csv")
    assert url.startswith("https://archive.org/download/dfc__recensement-ete-v1_")
    assert url != ITEMS.url("recensement ete/v1", "a.csv")


def test_only_folders_are_laid_out_as_torrents_are() -> None:
    assert [at.in_folders for at in (NODE, BUCKET, ITEMS, RECORD)] == [True, True, False, False]


@pytest.mark.parametrize(
    ("at", "template"),
    [
        (NODE, "https://toronto.example/census/2021.v1{/path*}"),
        (ITEMS, "https://archive.org/download/dfc_census_2021.v1{/path*}"),
        (RECORD, "https://zenodo.org/records/7078760/files/{path}?download=1"),
    ],
)
def test_one_template_says_where_all_files_of_a_version_are_read(
    at: Reading, template: str
) -> None:
    assert at.template(FOLDER) == template
    assert expanded(template, "raw/a?b.csv") == at.url(FOLDER, "raw/a?b.csv")


def test_a_file_in_a_folder_of_a_version_lies_in_the_version_s_item() -> None:
    url = "https://archive.org/download/dfc_census_2021.v1/raw/a.csv"
    assert ITEMS.url(f"{FOLDER}/raw", "a.csv") == ITEMS.url(FOLDER, "raw/a.csv") == url
