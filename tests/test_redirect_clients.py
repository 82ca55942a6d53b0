"""Real clients through the redirector: each ends with the right bytes, or with none.

Mirrors are servers on loopback; one whose port is closed is the best one in the redirector's eyes,
where a test says so, until it is probed again.
"""

import io
import os
import re
import shutil
import socket
import struct
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import fsspec
import pyarrow as pa
import pytest
from fsspec.implementations.http import HTTPFileSystem
from pyarrow import parquet

from fleet.store.database import Store
from tests import centre_support
from tests.api_support import Api, three_sites
from tests.centre_support import Centre
from tests.fault_server import FaultServer
from tests.pull_support import noise
from tests.redirect_support import label_of, redirecting

NAME = "census_2021.bin"
BODY = noise(1_500_000)
PATIENCE = 60


@dataclass
class Mirrors:
    """The servers of the sites, by site; the first one is asked before the others."""

    servers: dict[str, FaultServer]
    label: str
    api: Api

    def serve(self, body: bytes, *sites: str) -> None:
        """Have these bytes at sites, or at all of them."""
        for site in sites or self.servers:
            self.servers[site].serve(f"data/{self.label}/{NAME}", body)

    @property
    def url(self) -> str:
        return f"{self.api.url}/d/data/latest/{NAME}"

    def asked(self, site: str) -> int:
        return len(self.servers[site].requests)


@pytest.fixture
def mirrors(
    sqlite_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Mirrors]:
    """A centre whose three sites have a lone file and were seen to serve it."""
    centre = three_sites(sqlite_store, tmp_path)
    centre.settings = centre.settings.model_copy(update={"alone_from": 1})
    yield from _mirrored(centre, monkeypatch, BODY)


def _mirrored(centre: Centre, monkeypatch: pytest.MonkeyPatch, body: bytes) -> Iterator[Mirrors]:
    monkeypatch.setattr(centre_support, "content", {NAME: body}.__getitem__)
    with ExitStack() as stack:
        servers = {}
        for site, cost in (("toronto", 0.0), ("amsterdam", 1.0), ("netcup", 5.0)):
            servers[site] = stack.enter_context(FaultServer())
            root = f"http://{servers[site].netloc}"
            centre.apply_sites(site, read_url=root, egress_usd_per_gb=cost)
        centre.mirror(NAME)
        centre.prove()
        api = stack.enter_context(redirecting(centre, monkeypatch))
        made = Mirrors(servers, label_of(centre), api)
        made.serve(body)
        yield made


def _run(tmp_path: Path, *words: str, package: str = "") -> subprocess.CompletedProcess[str]:
    """Run a client in an empty folder of its own; skip where it is not installed."""
    if not shutil.which(words[0]):
        pytest.skip(f"needs {words[0]} (Debian package {package or words[0]})")
    folder = tmp_path / "out"
    folder.mkdir(exist_ok=True)
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "LANG": "C.UTF-8"}
    return subprocess.run(
        words, cwd=folder, env=env, capture_output=True, text=True, timeout=PATIENCE, check=False
    )


def _aria2(tmp_path: Path, *words: str) -> subprocess.CompletedProcess[str]:
    usual = ("--no-conf", "--enable-dht=false", "--enable-dht6=false", "--bt-enable-lpd=false")
    usual += ("--seed-time=0", "--retry-wait=0", "--max-tries=2", "--connect-timeout=5")
    return _run(tmp_path, "aria2c", *usual, *words, package="aria2")


def _port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def test_aria2_gets_a_file(mirrors: Mirrors, tmp_path: Path) -> None:
    done = _aria2(tmp_path, mirrors.url)
    assert done.returncode == 0, done.stdout
    assert (tmp_path / "out" / NAME).read_bytes() == BODY


def test_aria2_holds_what_it_got_against_the_digest_of_the_redirect(
    mirrors: Mirrors, tmp_path: Path
) -> None:
    mirrors.serve(noise(len(BODY), seed=2))
    done = _aria2(tmp_path, mirrors.url)
    assert done.returncode != 0
    assert "hecksum" in done.stdout + done.stderr


@pytest.mark.parametrize("dead", [False, True])
def test_aria2_gets_a_file_by_its_metalink_also_where_the_first_mirror_is_dead(
    mirrors: Mirrors, tmp_path: Path, dead: bool
) -> None:
    first = mirrors.api.get(f"/d/data/{mirrors.label}/{NAME}").headers["location"]
    assert mirrors.servers["toronto"].netloc in first
    if dead:
        mirrors.servers["toronto"].stop()
    done = _by_metalink(mirrors, tmp_path)
    assert done.returncode == 0, done.stdout
    assert (tmp_path / "out" / NAME).read_bytes() == BODY


def test_aria2_takes_no_file_by_its_metalink_that_the_mirrors_have_wrong(
    mirrors: Mirrors, tmp_path: Path
) -> None:
    mirrors.serve(BODY[:700_000] + b"\0" * 16 + BODY[700_016:])
    done = _by_metalink(mirrors, tmp_path, "--bt-stop-timeout=5")
    assert done.returncode != 0
    assert all(mirrors.asked(site) < 20 for site in mirrors.servers)


def _by_metalink(mirrors: Mirrors, tmp_path: Path, *more: str) -> subprocess.CompletedProcess[str]:
    """With a metalink that names a torrent aria2 takes the mirrors for its web seeds."""
    here = (f"--listen-port={_port()}", "--interface=127.0.0.1", *more)
    return _aria2(tmp_path, f"{mirrors.url}.meta4", *here)


def test_curl_gets_a_file_and_goes_on_with_one_by_a_range(mirrors: Mirrors, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    found = tmp_path / "out" / NAME
    found.write_bytes(BODY[:400_000])
    done = _run(tmp_path, "curl", "-sSfL", "-C", "-", "-O", mirrors.url)
    assert done.returncode == 0, done.stderr
    assert found.read_bytes() == BODY
    assert [one.range for one in mirrors.servers["toronto"].requests] == ["bytes=400000-"]
    found.unlink()
    assert _run(tmp_path, "curl", "-sSfLO", mirrors.url).returncode == 0
    assert found.read_bytes() == BODY


def test_wget2_gets_a_file(mirrors: Mirrors, tmp_path: Path) -> None:
    done = _run(tmp_path, "wget2", "--tries=2", "-q", mirrors.url)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / NAME).read_bytes() == BODY


@pytest.mark.parametrize("client", ["aria2", "transmission"])
def test_a_torrent_client_gets_a_file_from_the_address_of_its_torrent(
    mirrors: Mirrors, tmp_path: Path, client: str
) -> None:
    url, port = f"{mirrors.url}.torrent", str(_port())
    found = tmp_path / "out" / NAME
    if client == "aria2":
        done = _aria2(tmp_path, f"--listen-port={port}", "--interface=127.0.0.1", url)
        assert done.returncode == 0, done.stdout
    else:
        _until_there(tmp_path, found, port, url)
    assert found.read_bytes() == BODY
    assert sum(mirrors.asked(site) for site in mirrors.servers) >= 1


def _until_there(tmp_path: Path, found: Path, port: str, url: str) -> None:
    """Run Transmission, which seeds until it is told to end, until it has the file."""
    script = f'kill -TERM "$(cat {tmp_path}/pid)"'
    end = tmp_path / "end"
    end.write_text(f"#!/bin/sh\n{script}\n")
    end.chmod(0o755)
    words = ["transmission-cli", "--no-portmap", "--config-dir", str(tmp_path / "home")]
    words += ["--port", port, "--download-dir", str(found.parent), "--finish", str(end), url]
    run = f'echo $$ > {tmp_path}/pid; exec "$@"'
    if not shutil.which("transmission-cli"):
        pytest.skip("needs transmission-cli (Debian package transmission-cli)")
    _run(tmp_path, "sh", "-c", run, "sh", *words)


@pytest.fixture
def table(
    sqlite_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Mirrors]:
    """The same of a GeoParquet file of 50 row groups; DuckDB reads small ones as a whole."""
    rows = 80_000
    points = [struct.pack("<BIdd", 1, 1, -75, number / rows) for number in range(rows)]
    columns = pa.table({"id": range(rows), "noise": _texts(rows), "geometry": points})
    geo = '{"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": '
    geo += '{"encoding": "WKB", "geometry_types": ["Point"]}}}'
    written = io.BytesIO()
    parquet.write_table(
        columns.replace_schema_metadata({"geo": geo}), written, row_group_size=rows // 50
    )
    centre = three_sites(sqlite_store, tmp_path)
    yield from _mirrored(centre, monkeypatch, written.getvalue())


def _texts(rows: int) -> list[str]:
    data = noise(rows * 32).hex()
    return [data[at * 64 : (at + 1) * 64] for at in range(rows)]


class _Dated(HTTPFileSystem):  # type: ignore[misc]
    """fsspec's own; DuckDB asks it for dates, which it does not tell."""

    def modified(self, path: str) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC)


def test_duckdb_reads_what_it_needs_of_a_remote_table_by_ranges(table: Mirrors) -> None:
    with duckdb.connect() as database:
        database.register_filesystem(_Dated(block_size=1 << 14))
        found = database.execute(
            "SELECT id, noise, geometry IS NOT NULL FROM read_parquet(?) WHERE id = 12345",
            [table.url],
        ).fetchall()
    assert found == [(12345, _texts(80_000)[12345], True)]
    _read_in_part(table)


def test_arrow_reads_one_row_group_of_a_remote_table_by_ranges(table: Mirrors) -> None:
    with fsspec.open(table.url, block_size=1 << 16, cache_type="none") as file:
        opened = parquet.ParquetFile(file)
        assert b"geo" in opened.schema_arrow.metadata
        group = opened.read_row_group(7).to_pydict()
    assert group["id"] == list(range(11_200, 12_800))
    assert group["noise"] == _texts(80_000)[11_200:12_800]
    _read_in_part(table)


def _read_in_part(table: Mirrors) -> None:
    """What was read of the mirror is less than half of the file, and by ranges."""
    first = table.servers["toronto"]
    [file] = first.files.values()
    ranges = [re.fullmatch(r"bytes=(\d+)-(\d+)", one.range or "") for one in first.requests]
    read = sum(int(one[2]) - int(one[1]) + 1 for one in ranges if one)
    assert 0 < read < len(file.body) / 2
