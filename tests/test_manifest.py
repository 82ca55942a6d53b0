"""A version's manifest: the same bytes of the same version, and a reader that believes nothing."""

import json
from collections.abc import Callable
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.blueprint import canonical, manifest
from fleet.blueprint.manifest import File, Manifest, parse, write
from fleet.blueprint.refused import BlueprintRefused
from fleet.blueprint.sources import Source
from fleet.torrent.paths import clash, path_fault

SHA256, MD5, ROOT = "a" * 64, "b" * 32, "c" * 64
CENSUS = Manifest(
    dataset="ca_statcan-2021A000011124_census_2021",
    version="v0.1.0-beta",
    files=(
        File("data/é.csv", 7, SHA256, "data", MD5, "text/csv", ROOT, ("https://b.example/2?x=1",)),
        File("code.tar", 10240, SHA256, role="source"),
    ),
    sources=(Source("https://a.example/1.zip", SHA256),),
    licence="OGL-Canada-2.0",
    retrieved=date(2026, 3, 1),
)
WRITTEN = (
    '{"dataset":"ca_statcan-2021A000011124_census_2021","files":['
    f'{{"bep52_root":null,"md5":null,"media_type":null,"origins":[],"path":"code.tar","role":"source",'
    f'"sha256":"{SHA256}","size":10240}},'
    f'{{"bep52_root":"{ROOT}","md5":"{MD5}","media_type":"text/csv","origins":["https://b.example/2?x=1"],"path":"data/é.csv",'
    f'"role":"data","sha256":"{SHA256}","size":7}}],'
    '"format":"fleet-manifest/1","licence":"OGL-Canada-2.0","licence_retrieved":"2026-03-01",'
    f'"sources":[{{"sha256":"{SHA256}","url":"https://a.example/1.zip"}}],"version":"v0.1.0-beta"}}'
)
HEX = st.sampled_from("0123456789abcdef")
DIGESTS = st.text(HEX, min_size=64, max_size=64)
PATHS = st.text(min_size=1, max_size=40).filter(lambda path: not path_fault(path))
FILES = st.builds(
    File,
    path=PATHS,
    size=st.integers(0, 2**53 - 1),
    sha256=DIGESTS,
    role=st.sampled_from(sorted(manifest.ROLES)),
    md5=st.none() | st.text(HEX, min_size=32, max_size=32),
    media_type=st.none() | st.just("text/csv"),
    bep52_root=st.none() | DIGESTS,
)


def test_a_manifest_says_what_it_should_and_nothing_of_the_run() -> None:
    assert write(CENSUS).decode() == WRITTEN


@given(st.lists(FILES, max_size=6), st.randoms(), st.none() | st.dates())
def test_what_was_written_is_read_and_the_order_makes_no_difference(
    files: list[File], chance: Any, retrieved: date | None
) -> None:
    files = list({file.path: file for file in files}.values())
    if clash(sorted(file.path for file in files)):
        return
    made = Manifest("d", "1", tuple(files), licence="é ’", retrieved=retrieved)
    data = write(made)
    assert parse(data) == made
    chance.shuffle(files)
    assert write(Manifest("d", "1", tuple(files), licence="é ’", retrieved=retrieved)) == data


def _changed(change: Callable[[dict[str, Any]], object]) -> bytes:
    fields = json.loads(WRITTEN)
    change(fields)
    return canonical.dumps(fields)


def _file(name: str, value: Any) -> bytes:
    return _changed(lambda fields: fields["files"][0].update({name: value}))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "no JSON"),
        (b"\xff", "no JSON"),
        (b"[" * 100_000, "no JSON"),
        (b"1" * 5000, "no JSON"),
        (b"null", "no manifest of the format"),
        (b'{"format":"fleet-manifest/2"}', "no manifest of the format"),
        (b'{"format":"fleet-manifest/1"}', "'dataset' is missing"),
        (_changed(lambda fields: fields.update(dataset="../x")), "no name of a dataset"),
        (_changed(lambda fields: fields.update(version=1)), "'version' is missing, or of another"),
        (_changed(lambda fields: fields.update(licence="a\nb")), "no line of text"),
        (_changed(lambda fields: fields.update(licence_retrieved="soon")), "soon is no date"),
        (_changed(lambda fields: fields.update(licence_retrieved="20260301")), "canonical"),
        (_changed(lambda fields: fields.update(more=1)), "canonical"),
        (_changed(lambda fields: fields.update(files={})), "'files' is missing, or of another"),
        (_changed(lambda fields: fields.update(files=[1])), "an entry of 'files' is no object"),
        (_changed(lambda fields: fields["files"].reverse()), "canonical"),
        (_changed(lambda fields: fields["files"].append(fields["files"][0])), "same file"),
        (_changed(lambda fields: fields["sources"].append(fields["sources"][0])), "canonical"),
        (_changed(lambda fields: fields["sources"][0].update(url="file:///etc")), "no URL"),
        (_file("path", "../../etc/passwd"), "no path of an artifact"),
        (_file("path", "/etc/passwd"), "no path of an artifact"),
        (_file("path", "data"), "wants it as a folder"),
        (_file("path", "DATA/É.csv"), "same file"),
        (_file("size", -1), "no size"),
        (_file("size", True), "'size' is missing, or of another type"),
        (_file("sha256", "A" * 64), "sha256 is none"),
        (_file("md5", "b" * 31), "md5 is none"),
        (_file("origins", [1]), "an entry of 'origins' is no text"),
        (_file("origins", ["https://a.example/?X-Amz-Signature=1"]), "has a token or signature"),
        (_file("role", "manifest"), "the role is none of"),
        (_file("media_type", "text/html\r\nX: 1"), "media_type is none"),
        (WRITTEN.replace('"size":7', '"size":7.0').encode(), "the number 7.0 in it is no integer"),
        (WRITTEN.replace('"size":7', '"size":NaN').encode(), "no integer"),
        (WRITTEN.replace('"size":7', '"size":9007199254740993').encode(), "no size"),
        (WRITTEN.replace('"size":7', '"size":6,"size":7').encode(), "canonical"),
        (WRITTEN.replace('"size":7', '"size": 7').encode(), "canonical"),
        (WRITTEN.replace("é", "\\u00e9").encode(), "canonical"),
        (WRITTEN.replace("é", "\\ud800").encode(), "no path of an artifact"),
        (f"{WRITTEN}\n".encode(), "canonical"),
        (WRITTEN.encode("utf-16"), "canonical"),
    ],
)
def test_a_hostile_manifest_is_refused_with_its_reason(data: bytes, said: str) -> None:
    with pytest.raises(BlueprintRefused, match=said) as caught:
        parse(data)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400


def test_what_is_too_large_is_neither_written_nor_read(monkeypatch: pytest.MonkeyPatch) -> None:
    data = write(CENSUS)
    monkeypatch.setattr(manifest, "MAX_BYTES", len(data) - 1)
    with pytest.raises(BlueprintRefused, match="the manifest has more than"):
        parse(data)
    with pytest.raises(BlueprintRefused, match="the manifest of 2 files would have"):
        write(CENSUS)


def test_json_is_written_as_rfc_8785_has_it() -> None:
    said = '€$\x0f\nA\'B"\\\\"/\x7f\u2028😀'  # its own example, and what others escape as well
    assert canonical.dumps({"b": [1, None], "a": said}).decode() == (
        '{"a":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/\x7f\u2028😀","b":[1,null]}'
    )
    for value in (1.5, 2**53, b"x", "\ud800"):
        with pytest.raises(BlueprintRefused):
            canonical.dumps([value])
