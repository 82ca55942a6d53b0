"""`fleet catalogue show` and `query`: what they find in a catalogue that somebody has."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from struct import pack
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.http import HTTPFileSystem

from fleet.catalogue import item, reader
from fleet.catalogue.citations.formats import FORMATS
from fleet.catalogue.citations.told import work_told
from fleet.catalogue.citations.work import of_dataset, of_version
from fleet.catalogue.collection import collection
from fleet.catalogue.edition import Edition
from fleet.catalogue.entry import Dataset
from fleet.catalogue.footprint import Box, covering, from_wkb, geometry, meet, to_wkb
from fleet.catalogue.reader import Asked, Catalogue, CatalogueError
from fleet.descriptions import Description
from tests.catalogue_support import BASE, SITES, by_id, listing, sample
from tests.cli_support import Run, refused, runner
from tests.fault_server import FaultServer
from tests.test_citations import DESCRIBED

CENTRE = "https://fleet.example.org"
DOCS = Path(__file__).parents[1] / "docs" / "catalogue.md"
FAR = Description.model_validate(
    {"title": {"fr": "Îles"}, "extent": {"bbox": [170.0, -10.0, -170.0, 10.0]}}
)
ROADS = replace(sample(0, versions=3), id="ca-on_roads", description=DESCRIBED, centre=CENTRE)
ISLES = replace(sample(8, versions=1), id="isles", description=FAR, doi="")
OTHERS = [sample(number, versions=2) for number in range(1, 6)]
NEWEST = ROADS.entries[-1]


def written(folder: Path, *datasets: Dataset) -> Path:
    """The folder of a catalogue of some datasets."""
    edition = Edition(folder / "public", folder / "memory", BASE, SITES)
    edition.put(by_id(*datasets))
    edition.write()
    return folder / "public"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("catalogue"), ROADS, ISLES, *OTHERS)


@pytest.fixture
def fleet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    monkeypatch.setenv("TZ", "America/Toronto")
    return runner(tmp_path, monkeypatch, capsys)


def test_a_version_is_shown_with_all_that_is_told_of_it(fleet: Run, folder: Path) -> None:
    shown = fleet("catalogue", "show", "ca-on_roads", "--from", str(folder))
    assert (shown.code, shown.err) == (0, "")
    file, mirror, [torrent] = NEWEST.artifacts[1], NEWEST.mirrors[0], NEWEST.shards
    assert mirror.verified_at is not None
    for told in (
        *("Buildings & roads", "Bâtiments et routes", "v0.2.0*", "v0.0.0", "superseded"),
        *("OGL-Canada-2.0", f"https://doi.org/{NEWEST.doi}", f"https://doi.org/{ROADS.doi}"),
        *(f"{CENTRE}/datasets/ca-on_roads", file.sha256, mirror.site, torrent.infohash),
        f"{mirror.verified_at.astimezone():%Y-%m-%d %H:%M %Z}",
    ):
        assert told in shown.out
    old = fleet("catalogue", "show", "ca-on_roads@v0.0.0", "--from", str(folder))
    assert "v0.0.0*" in old.out


def test_programs_are_given_the_item_itself(fleet: Run, folder: Path) -> None:
    wanted = list(item.items(ROADS, BASE, listing))
    for name, one in (
        ("ca-on_roads", wanted[2]),
        ("ca-on_roads@latest", wanted[2]),
        ("ca-on_roads@v0.1.0", wanted[1]),
    ):
        shown = fleet("catalogue", "show", name, "--from", str(folder), "--json")
        assert shown.json == one


@pytest.mark.parametrize("form", FORMATS, ids=[one.name for one in FORMATS])
def test_it_is_cited_as_the_centre_cites_it_but_for_where_files_are(
    fleet: Run, folder: Path, form: Any
) -> None:
    for name, work in (
        ("ca-on_roads", of_dataset(ROADS)),
        ("ca-on_roads@v0.1.0", of_version(ROADS, ROADS.entries[1])),
        ("isles", of_dataset(ISLES)),
    ):
        shown = fleet("catalogue", "show", name, "--from", str(folder), "--cite", form.name)
        assert (shown.code, shown.err) == (0, "")
        wanted, found = form.write(replace(work, catalog=f"{BASE}/catalogue.json")), shown.out
        if form.name in {"jsonld", "croissant"}:
            wanted, found = (
                {key: one for key, one in json.loads(text).items() if key != "distribution"}
                for text in (wanted, found)
            )
        assert found == wanted


def test_where_there_are_too_many_collections_for_the_footer_they_are_found_beside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fleet.catalogue.edition.IN_FOOTER", 1)
    table = written(tmp_path, ROADS, *OTHERS) / "catalogue.parquet"
    told = Catalogue(table).find("ca-on_roads")
    assert told.collection == collection(ROADS, BASE)
    (tmp_path / "public" / "collections.parquet").unlink()
    without = Catalogue(table).find("ca-on_roads")
    assert without.collection == {}
    work = work_told(without.versions, without.item, {}, whole=True)
    assert (work.doi, work.creators) == (ROADS.doi, ())


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["batiments"], {"ca-on_roads"}),
        (["BÂTIMENTS", "road"], {"ca-on_roads"}),
        (["routes"], {"ca-on_roads"}),
        (["iles"], {"isles"}),
        (["--bbox", "-75,45,-74.5,46"], {"ca-on_roads", *(one.id for one in OTHERS)}),
        (["--bbox=179,0,-179,1"], {"isles"}),
        (["--bbox=-172,0,-171,1"], {"isles"}),
        (["--bbox=-169,0,-168,1"], set()),
        (["road", "--licence", "OGL-Canada-2.0"], {"ca-on_roads"}),
        (["road", "--licence", "CC0-1.0"], set()),
        (["road", "--site", NEWEST.mirrors[0].site], {"ca-on_roads"}),
        (["road", "--site", "nowhere"], set()),
        (["nothing of that name"], set()),
    ],
)
def test_datasets_are_found_by_what_people_look_for(
    fleet: Run, folder: Path, words: list[str], found: set[str]
) -> None:
    ended = fleet("catalogue", "query", *words, "--from", str(folder), "--json")
    assert {one["dataset"] for one in ended.json} <= found | {one.id for one in OTHERS}
    assert found - {one.id for one in OTHERS} <= {one["dataset"] for one in ended.json}
    assert ended.code == (0 if ended.json else 1)
    shown = fleet("catalogue", "query", *words, "--from", str(folder))
    assert all(one["dataset"] in shown.out for one in ended.json)


def test_only_the_latest_versions_are_found(folder: Path) -> None:
    found = list(Catalogue(folder / "catalogue.parquet").search(Asked(("roads",))))
    assert [one["version"] for one in found if one["collection"] == ROADS.id] == [NEWEST.label]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["show", "ca-on_road", "--from", "C"], 1, "did you mean ca-on_roads"),
        (["show", "ca-on_roads@v9", "--from", "C"], 1, "it has v0.2.0, v0.1.0, v0.0.0"),
        (["show", "zz\x1b[2J", "--from", "C"], 1, "has no dataset"),
        (["show", "x", "--from", "nowhere"], 1, "nowhere has no catalogue.parquet"),
        (["show", "x", "--from", "ftp://a.example/c"], 1, "http or https URL"),
        (["show", "x", "--from", "C", "--cite", "ris"], 2, "ris"),
        (["query", "--bbox", "1,2,3", "--from", "C"], 2, "west,south,east,north"),
        (["query", "--bbox", "1,2,3,400", "--from", "C"], 2, "degrees"),
        (["query", "x"], 2, "--from"),
    ],
)
def test_what_cannot_be_shown_is_said(
    fleet: Run, folder: Path, words: list[str], code: int, said: str
) -> None:
    ended = fleet("catalogue", *(str(folder) if one == "C" else one for one in words))
    assert (ended.code, ended.out) == (code, "")
    assert said in ended.err
    assert "\x1b[2J" not in ended.err


def test_tables_that_are_no_catalogue_are_refused(tmp_path: Path, folder: Path) -> None:
    table = tmp_path / "catalogue.parquet"
    whole = pq.read_table(folder / "catalogue.parquet")
    pq.write_table(pa.table({"id": [1]}), table)
    with pytest.raises(CatalogueError, match="no column"):
        Catalogue(table)
    table.write_bytes(b"PAR1 and what not")
    with pytest.raises(CatalogueError, match="cannot be read"):
        Catalogue(table)
    for name in ("links", "bbox", "fleet:sequence", "title"):
        at = whole.schema.get_field_index(name)
        pq.write_table(whole.set_column(at, name, pa.array([1.5] * len(whole))), table)
        with pytest.raises(CatalogueError, match=name):
            Catalogue(table)


def test_what_a_table_tells_of_a_version_is_believed_only_if_it_makes_sense(
    fleet: Run, tmp_path: Path, folder: Path
) -> None:
    whole = pq.read_table(folder / "catalogue.parquet")
    for name in ("published", "fleet:state", "fleet:mirrors", "links", "assets"):
        field = whole.schema.field(name)
        nothing: Any = [{}] if pa.types.is_list(field.type) else None
        empty = pa.array([nothing] * len(whole), field.type)
        broken = whole.set_column(whole.schema.get_field_index(name), field, empty)
        pq.write_table(broken, tmp_path / "catalogue.parquet")
        ended = fleet("catalogue", "show", "ca-on_roads", "--from", str(tmp_path))
        if name != "assets":  # a version may have none
            refused(ended, "ca-on_roads")


def test_what_an_item_lacks_is_an_error_of_the_catalogue() -> None:
    [one, *_] = item.items(ROADS, BASE, listing)
    whole = collection(ROADS, BASE)
    for name in ("published", "fleet:state", "license", "fleet:size"):
        said = {key: value for key, value in one["properties"].items() if key != name}
        with pytest.raises(ValueError, match="nothing sensible"):
            work_told([one], one | {"properties": said}, whole, whole=False)
    with pytest.raises(ValueError, match="nothing sensible"):
        work_told([one], one, whole | {"fleet:creators": [{"orcid": "x"}]}, whole=False)


@pytest.mark.parametrize(
    ("box", "other", "met"),
    [
        ((0, 0, 10, 10), (5, 5, 15, 15), True),
        ((0, 0, 10, 10), (11, 0, 12, 10), False),
        ((0, 0, 10, 10), (0, 11, 10, 12), False),
        ((170, 0, -170, 10), (175, 0, 176, 10), True),
        ((170, 0, -170, 10), (-176, 0, -175, 10), True),
        ((170, 0, -170, 10), (0, 0, 1, 10), False),
        ((170, 0, -170, 10), (160, 0, -160, 10), True),
        ((0, 0, 10, 10), (170, 0, -170, 10), False),
        ((-175, 0, -172, 10), (170, 0, -170, 10), True),
    ],
)
def test_rectangles_meet_across_the_180th_meridian_too(box: Box, other: Box, met: bool) -> None:
    sides = dict(zip(("xmin", "ymin", "xmax", "ymax"), map(float, covering(other)), strict=True))
    table = pa.table({"bbox": [sides]})
    assert (meet(box, other), meet(other, box)) == (met, met)
    assert len(table.filter(reader._meets(box))) >= met


@pytest.mark.parametrize(
    "data",
    [b"", b"\1\3", to_wkb(geometry((0, 0, 1, 1)))[:-1], pack("<BII", 1, 6, 0), b"\1\3\0\0\0" * 9],
)
def test_what_is_no_rectangle_is_an_error_and_no_crash(data: bytes) -> None:
    with pytest.raises(ValueError, match="no rectangle"):
        from_wkb(data)


def test_a_table_is_read_by_its_url_with_what_lies_beside_it(
    fleet: Run, folder: Path, server: FaultServer, tmp_path: Path
) -> None:
    server.serve("c/catalogue.parquet", (folder / "catalogue.parquet").read_bytes())
    url = server.url("c/catalogue.parquet")
    shown = fleet("catalogue", "show", "ca-on_roads", "--from", url, "--cite", "csl")
    assert shown.json["author"][1] == {"literal": "Statistics Canada"}
    assert fleet("catalogue", "query", "roads", "--from", url, "--json").code == 0
    refused(fleet("catalogue", "show", "x", "--from", server.url("gone.parquet")), "404")


def test_a_large_catalogue_is_searched_in_bounded_memory(tmp_path: Path) -> None:
    many = [sample(number, versions=10) for number in range(600)]
    table = written(tmp_path, *many) / "catalogue.parquet"
    rows = pq.read_table(table)
    pq.write_table(pa.concat_tables([rows] * 10), table, row_group_size=6_000)
    program = f"""
import resource
from pathlib import Path
from fleet.catalogue.reader import Asked, Catalogue
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
found = sum(1 for _ in Catalogue(Path({str(table)!r})).search(Asked(("données", "599"))))
print(found, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    found, grown = map(int, done.stdout.split())
    assert found >= 10
    assert grown < 120_000, f"{grown} kB for 60,000 versions"


class Dated(HTTPFileSystem):  # type: ignore[misc]
    """fsspec's own; DuckDB asks it for dates, which it does not tell."""

    def modified(self, path: str) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC)


def test_each_query_of_the_documentation_finds_something_over_http(
    server: FaultServer, tmp_path: Path
) -> None:
    alone = replace(NEWEST.mirrors[0], site="source-coop")
    newest = replace(NEWEST, mirrors=(alone,))
    dataset = replace(ROADS, entries=(*ROADS.entries[:-1], newest))
    body = (written(tmp_path, dataset, *OTHERS) / "catalogue.parquet").read_bytes()
    server.serve("catalogue/catalogue.parquet", body)
    queries = re.findall(r"```sql\n(.+?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    assert len(queries) >= 5
    for query in queries:
        assert f"{CENTRE}/catalogue/catalogue.parquet" in query
        with duckdb.connect() as database:
            database.register_filesystem(Dated(block_size=1 << 14))
            here = server.url("catalogue/catalogue.parquet")
            found = database.execute(
                query.replace(f"{CENTRE}/catalogue/catalogue.parquet", here)
            ).fetchall()
        assert found, query
        if "sha256" in query:
            [(_, sha256)] = found
            assert sha256 == NEWEST.artifacts[1].sha256
    assert any(one.range for one in server.requests)


def test_a_reader_loads_neither_store_nor_broker() -> None:
    program = "import sys; from fleet.cli.catalogue import query, show; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert not {b"sqlalchemy", b"celery", b"redis", b"fleet.store"} & set(done.stdout.split())


def test_a_table_of_another_release_is_read(fleet: Run, folder: Path, tmp_path: Path) -> None:
    table = pq.read_table(folder / "catalogue.parquet").drop_columns(["fleet:concept_doi"])
    at = table.schema.get_field_index("fleet:mirrors")
    known = list(table.schema.field(at).type.value_type)
    more = pa.list_(pa.struct([*known, pa.field("city", pa.string())]))
    mirrors = [[{**one, "city": "x"} for one in some or ()] for some in table[at].to_pylist()]
    pq.write_table(
        table.set_column(at, pa.field("fleet:mirrors", more), pa.array(mirrors, more)),
        tmp_path / "other.parquet",
    )
    shown = fleet("catalogue", "show", "ca-on_roads", "--from", str(tmp_path / "other.parquet"))
    assert (shown.code, shown.err) == (0, "")
    assert NEWEST.mirrors[0].site in shown.out


def test_a_sidecar_that_cannot_be_had_just_now_is_not_taken_for_none(
    fleet: Run, folder: Path, server: FaultServer
) -> None:
    server.serve("c/catalogue.parquet", (folder / "catalogue.parquet").read_bytes())
    server.serve("c/collections.parquet", b"", "status", code=503)
    shown = fleet("catalogue", "show", "ca-on_roads", "--from", server.url("c/catalogue.parquet"))
    assert shown.code == 1
    assert "collections.parquet" in shown.err


@pytest.mark.parametrize(
    "url",
    ["http://[/c", "http://127.0.0.1:99999/c", "http://[::1]x/c", "http://a:b/c", "http://a\n/"],
)
def test_what_is_no_url_is_refused_in_a_line(fleet: Run, url: str) -> None:
    broken = fleet("catalogue", "show", "x", "--from", url)
    refused(broken, "URL")


@pytest.mark.parametrize(
    ("name", "value"),
    [("processing:lineage", [1]), ("fleet:concept_doi", b"\xff"), ("storage:schemes", b"\xff")],
)
def test_a_column_of_another_kind_is_refused_and_crashes_nothing(
    fleet: Run, folder: Path, tmp_path: Path, name: str, value: object
) -> None:
    whole = pq.read_table(folder / "catalogue.parquet")
    others = pa.array([value] * len(whole))
    at = whole.schema.get_field_index(name)
    broken = whole.append_column(name, others) if at < 0 else whole.set_column(at, name, others)
    pq.write_table(broken, tmp_path / "catalogue.parquet")
    for options in ((), ("--json",)):
        refused(fleet("catalogue", "show", "ca-on_roads", "--from", str(tmp_path), *options), "")


@pytest.mark.parametrize("there", [True, False])
def test_a_table_that_lacks_what_need_not_be_said_is_shown(
    fleet: Run, folder: Path, tmp_path: Path, there: bool
) -> None:
    whole = pq.read_table(folder / "catalogue.parquet").drop_columns(["start_datetime"])
    if there:  # as a writer leaves it that saw none
        whole = whole.append_column("start_datetime", pa.nulls(len(whole)))
    pq.write_table(whole, tmp_path / "catalogue.parquet")
    shown = fleet("catalogue", "show", "ca-on_roads", "--from", str(tmp_path))
    assert (shown.code, shown.err) == (0, "")


@pytest.mark.parametrize("name", ["collection", "version", "license", "fleet:files", "fleet:size"])
def test_a_row_that_says_nothing_of_what_each_does_is_refused(
    fleet: Run, folder: Path, tmp_path: Path, name: str
) -> None:
    whole = pq.read_table(folder / "catalogue.parquet")
    at = whole.schema.get_field_index(name)
    field = whole.schema.field(at)
    broken = whole.set_column(at, field, pa.nulls(len(whole), field.type))
    pq.write_table(broken, tmp_path / "catalogue.parquet")
    for words in (("query", "road"), ("show", "nothing-of-that-name")):
        refused(fleet("catalogue", *words, "--from", str(tmp_path)), "")
