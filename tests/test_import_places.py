"""What a source names, told by its form alone."""

import pytest

from fleet.importers.draft import ImportRefused
from fleet.importers.place import Item, Place, Prefix, Record, Stac, Torrent, place_of
from fleet.settings import CentreSettings

SETTINGS = CentreSettings(
    s3_endpoint="https://s3.example/",
    zenodo_hosts=("zenodo.org", "sandbox.zenodo.org", "127.0.0.1:8080"),
)
ZENODO, SANDBOX = "https://zenodo.org", "https://sandbox.zenodo.org"
ARCHIVE = "https://archive.org"


@pytest.mark.parametrize(
    ("source", "place"),
    [
        ("https://zenodo.org/records/15333781", Record(ZENODO, "15333781")),
        ("https://ZENODO.org/record/15333781/?x=1#files", Record(ZENODO, "15333781")),
        ("https://sandbox.zenodo.org/records/5", Record(SANDBOX, "5")),
        ("http://127.0.0.1:8080/records/ab-1", Record("http://127.0.0.1:8080", "ab-1")),
        ("10.5281/zenodo.15333781", Record(ZENODO, "15333781")),
        ("doi:10.5281/zenodo.5", Record(ZENODO, "5")),
        ("DOI:10.5281/Zenodo.5", Record(ZENODO, "5")),
        ("https://doi.org/10.5281/zenodo.5", Record(ZENODO, "5")),
        ("http://dx.doi.org/10.5281/zenodo.5", Record(ZENODO, "5")),
        ("https://zenodo.org/doi/10.5281/zenodo.5", Record(ZENODO, "5")),
        ("10.5072/zenodo.5", Record(SANDBOX, "5")),
        ("https://archive.org/details/canadas-2021-census", Item(ARCHIVE, "canadas-2021-census")),
        ("https://archive.org/download/abc/", Item(ARCHIVE, "abc")),
        ("s3://a.bucket/pre/fix", Prefix("https://s3.example", "a.bucket", "pre/fix")),
        ("s3://bucket", Prefix("https://s3.example", "bucket", "")),
        (
            "https://data.source.coop/dataforcanada/a%20b/processed/",
            Prefix("https://data.source.coop", "dataforcanada", "a b/processed/"),
        ),
        ("stac+https://a.example/item.json", Stac("https://a.example/item.json")),
        ("https://a.example/x.torrent?y", Torrent("https://a.example/x.torrent?y")),
    ],
)
def test_a_source_is_known_by_its_form(source: str, place: Place) -> None:
    assert place_of(source, SETTINGS) == place


@pytest.mark.parametrize(
    "source",
    [
        "https://zenodo.org/records/15333781/files/98-401_eng_CSV.zip?download=1",
        "https://zenodo.org/api/records/5/files/a.zip/content",
        "https://archive.org/download/canadas-2021-census/98-401_eng_CSV.zip",
        "https://archive.org/download/canadas-2021-census/sub/a.zip",
        "https://notzenodo.org/records/5",
        "https://zenodo.org:8443/records/5",
        "https://a.example/item.json",
        "https://a.example/data.parquet",
        "https://a.example/",
        "https://a.example/list/?download=1",
        "https://user:pw@zenodo.org/records/5",
        "lists/10.5281/x.txt",
        "10.5/x",
        "ftp://zenodo.org/records/5",
    ],
)
def test_everything_else_is_one_file_or_lies_on_a_disk(source: str) -> None:
    assert place_of(source, SETTINGS) is None


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("10.5061/dryad.s2v81", "no DOI of Zenodo's"),
        ("https://doi.org/10.5281/other.5", "no DOI of Zenodo's"),
        ("https://archive.org/details/abc/page/n5", "is a page"),
        ("https://zenodo.org/records/5/latest", "is a page"),
        ("https://zenodo.org/records/5/files/", "is a page"),
        ("s3://", "names no bucket"),
        ("s3://../x", "names no bucket"),
        ("stac+file:///etc/passwd", "not an http or https URL"),
        ("stac+/etc/passwd", "not an http or https URL"),
        ("stac+https://user:hunter2@a.example/x", "user name or password"),
    ],
)
def test_what_is_nearly_one_is_refused_in_one_line(source: str, reason: str) -> None:
    with pytest.raises(ImportRefused, match=reason) as refusal:
        place_of(source, SETTINGS)
    assert str(refusal.value).isprintable()
    assert "hunter2" not in str(refusal.value)


def test_a_bucket_without_an_endpoint_says_which_setting_names_one() -> None:
    with pytest.raises(ImportRefused, match="FLEET_S3_ENDPOINT"):
        place_of("s3://bucket/x", CentreSettings())


def test_a_listing_is_asked_for_by_its_prefix_and_its_token() -> None:
    place = Prefix("https://s3.example", "b", "a b/")
    assert place.listing("x/y=") == (
        "https://s3.example/b?encoding-type=url&list-type=2&continuation-token=x%2Fy%3D&prefix=a%20b%2F"
    )
