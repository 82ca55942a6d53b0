"""What holds for every list: generated ones, shuffled ones, and arbitrary bytes."""

import re
import unicodedata
from pathlib import PurePosixPath

from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from fleet.importers import Draft, DraftArtifact, ImportRefused, draft_of_list
from fleet.importers.url_list import Option, parse

unhurried = settings(deadline=None)  # a busy machine is no failure

# Few words, so that they collide often; hostile ones among them.
WORDS = [
    "a",
    "A",
    "b",
    "a.zip",
    "A.ZIP",
    "%C3%A9",
    "e%CC%81",
    "..",
    "%2e%2e",
    ".g",
    "x%2Fy",
    "",
    "%00",
]
HOSTS = ["a", "b.example", "B.EXAMPLE:443", "a:81", "[::1]", "user:pw@a", ""]

segments = st.lists(st.sampled_from(WORDS), min_size=1, max_size=4)
urls = st.builds(
    lambda scheme, host, path, query: f"{scheme}://{host}/{'/'.join(path)}{query}",
    st.sampled_from(["https", "http", "ftp"]),
    st.sampled_from(HOSTS),
    segments,
    st.sampled_from(["", "", "?download=1", "?2"]),
)
options = st.one_of(
    st.builds("out={}".format, st.sampled_from(["a", "A/b", "a.zip", "../a", "a/b/c", "é"])),
    st.builds("dir={}".format, st.sampled_from(["a", "b/", "/srv"])),
    st.builds("checksum=md5={}".format, st.sampled_from(["0" * 32, "f" * 32, "x"])),
)
blocks = st.builds(
    lambda alternates, chosen: "\n ".join(["\t".join(alternates), *chosen]),
    st.lists(urls, min_size=1, max_size=3),
    st.lists(options, max_size=2),
)


def read(listed: list[str]) -> Draft:
    return draft_of_list("\n".join(listed).encode(), "list.txt")


def good(draft: Draft) -> list[DraftArtifact]:
    return [item for item in draft.artifacts if not item.refused]


def key(path: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())


@unhurried
@given(st.lists(blocks, min_size=1, max_size=8))
@example(["https://a/a/a", "https://a/a", "https://a/b/a"])
def test_paths_are_contained_and_never_in_each_others_way(listed: list[str]) -> None:
    keys = [PurePosixPath(key(item.path)) for item in good(read(listed))]
    assert len(set(keys)) == len(keys)
    for item in good(read(listed)):
        parts = item.path.split("/")
        assert not any(
            part.startswith(".") or part == "" or part.endswith((".", " ")) for part in parts
        )
        assert "\\" not in item.path
        assert item.path.isprintable()
        assert unicodedata.is_normalized("NFC", item.path)
        assert not set(PurePosixPath(key(item.path)).parents).intersection(keys)


@unhurried
@given(
    st.lists(blocks, min_size=1, max_size=8).flatmap(
        lambda b: st.tuples(st.just(b), st.permutations(b))
    )
)
def test_the_order_of_the_lines_changes_no_path(both: tuple[list[str], list[str]]) -> None:
    one, other = (read(listed) for listed in both)
    assert {(i.path, frozenset(i.sources), i.sha256, i.md5) for i in good(one)} == {
        (i.path, frozenset(i.sources), i.sha256, i.md5) for i in good(other)
    }
    assert len(one.artifacts) == len(other.artifacts)


@unhurried
@given(st.lists(blocks, min_size=1, max_size=5))
def test_no_line_is_lost(listed: list[str]) -> None:
    draft = read(listed)
    refused = {
        int(number)
        for item in draft.artifacts
        if item.refused
        for numbers in re.findall(r"^lines? ([\d, ]+)", item.refused)
        for number in numbers.split(", ")
    }
    number = 1
    for block in listed:
        last = number + block.count("\n")
        # Of these hosts a URL is good as it stands; the others are refused or change their form.
        wanted = set(re.findall(r"https?://(?:a|a:81|\[::1\])/[^\s]*", block))
        inside = any(wanted.issubset(item.sources) for item in good(draft))
        assert inside or refused.intersection(range(number, last + 1))
        number = last + 1


@unhurried
@given(st.lists(blocks, min_size=1, max_size=8))
def test_a_draft_written_as_an_aria2_file_comes_back_the_same(listed: list[str]) -> None:
    before = good(read(listed))
    assume(before)
    lines: list[str] = []
    for item in before:
        lines += ["\t".join(item.sources), f"  out={item.path}"]
        lines += [f"  checksum=md5={item.md5}"] if item.md5 else []
    after = read(lines)
    assert list(after.artifacts) == before


written = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Zs"]), min_size=1, max_size=12
)


@unhurried
@given(
    st.lists(
        st.tuples(
            st.lists(written.map("https://{}".format), min_size=1, max_size=3),
            st.lists(st.tuples(st.sampled_from(["out", "dir", "checksum"]), written), max_size=3),
        ),
        min_size=1,
        max_size=5,
    ),
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from(["", "\ufeff"]),
    st.sampled_from([[], ["# https://a/x"], ["", "   ", "\t# x"]]),
)
def test_what_is_rendered_is_parsed_back(
    items: list[tuple[list[str], list[tuple[str, str]]]], end: str, bom: str, noise: list[str]
) -> None:
    lines: list[str] = []
    expected = []
    for listed, chosen in items:
        lines += [*noise, "\t".join(listed)]
        number = len(lines)
        placed = []
        for name, value in chosen:
            lines += [*noise, f" {name}={value}"]
            placed.append(Option(len(lines), name, value))
        expected.append((number, tuple(listed), placed))
    parsed, notes = parse((bom + end.join(lines)).encode())
    assert [(line.number, line.urls, line.options) for line in parsed] == expected
    assert notes == ()


SYNTAX = [b"https://a/", b" out=", b" dir=", b"checksum=sha-256=", b"\xef\xbb\xbf", b"\xe2\x84\xaa"]
fragments = st.sampled_from(
    [*SYNTAX, *(bytes([byte]) for byte in b"\n\t ./%[]@:#?\r=9x\\\xc3\xa9\xff")]
)


@unhurried
@given(st.one_of(st.binary(max_size=200), st.lists(fragments, max_size=40).map(b"".join)))
def test_no_bytes_raise_anything_but_a_refusal(data: bytes) -> None:
    try:
        draft = draft_of_list(data, "list.txt")
    except ImportRefused:
        return
    assert draft.artifacts
    assert all(bool(item.path) != bool(item.refused) for item in draft.artifacts)
    assert all(text.isprintable() for text in draft.notes)
    assert all(item.refused.isprintable() for item in draft.artifacts)
