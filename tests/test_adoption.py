"""A torrent of others held against files at a site: the pure part."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.torrent.adoption import (
    Move,
    OwnFile,
    move_of,
    own_files,
    web_seed_url,
    wrong_piece,
)
from fleet.torrent.bencode import decode, encode
from fleet.torrent.hybrid import check_layers, v2_roots
from fleet.torrent.metainfo import MetainfoError
from fleet.torrent.parsed import ParsedTorrent, parse
from tests.alias_support import HYBRID, KIB, changed, made, noise

names = st.text("abc", min_size=1, max_size=2)
paths = st.lists(names, min_size=1, max_size=3).map("/".join)
folders = st.lists(names, min_size=1, max_size=3).map("/".join)
contents = st.dictionaries(paths, st.integers(0, 3), min_size=1, max_size=6)


def below(folder: str, path: str) -> str:
    return f"{folder}/{path}"


def files_at(folder: str, sizes: dict[str, int]) -> tuple[OwnFile, ...]:
    """A torrent's files below a folder; where they begin does not matter here."""
    items = enumerate(sizes.items())
    return tuple(OwnFile(at, below(folder, path), size, 0) for at, (path, size) in items)


def folder_torrent(name: str, *files: tuple[str, int, str], piece: int = 16 * KIB) -> ParsedTorrent:
    """A torrent of files by path, size and attributes, whose pieces are anybody's guess."""
    entries: list[Any] = [
        {b"length": size, b"path": [part.encode() for part in path.split("/")]}
        | ({b"attr": attr.encode()} if attr else {})
        for path, size, attr in files
    ]
    count = -(-sum(size for _, size, _ in files) // piece)
    info: dict[bytes, Any] = {
        b"name": name.encode(),
        b"piece length": piece,
        b"pieces": b"x" * 20 * count,
        b"files": entries,
    }
    return parse(encode({b"info": info}))


@given(contents, folders, folders, st.randoms(use_true_random=False))
def test_the_same_files_fit_below_any_folder_and_in_any_order(
    sizes: dict[str, int], theirs: str, ours: str, random: Any
) -> None:
    held = [(below(ours, path), size) for path, size in sizes.items()]
    random.shuffle(held)
    files = files_at(theirs, sizes)
    move = move_of(files, held)
    assert move is not None
    assert [move.place(file.path) for file in files] == [below(ours, path) for path in sizes]


@given(contents, contents)
def test_only_the_same_files_fit(theirs: dict[str, int], ours: dict[str, int]) -> None:
    files = files_at("theirs", theirs)
    move = move_of(files, [(f"ours/{path}", size) for path, size in ours.items()])
    if move is None:
        assert theirs != ours
        return
    found = {move.place(file.path): file.size for file in files}
    assert found == {f"ours/{path}": size for path, size in ours.items()}
    last = [
        (file.path.rpartition("/")[2], move.place(file.path).rpartition("/")[2]) for file in files
    ]
    assert all(one == other for one, other in last)


def test_padding_is_left_out_and_leaves_its_gap() -> None:
    torrent = folder_torrent("d", ("a", 5, ""), (".pad/9", 9, "p"), ("b", 3, "x"), ("c", 0, ""))
    assert own_files(torrent) == (
        OwnFile(0, "d/a", 5, 0),
        OwnFile(2, "d/b", 3, 14),
        OwnFile(3, "d/c", 0, 17),
    )


def test_a_torrent_of_padding_alone_is_refused() -> None:
    with pytest.raises(MetainfoError, match="'d' holds no file but padding"):
        own_files(folder_torrent("d", (".pad/9", 9, "p")))


def test_more_padding_than_a_piece_needs_is_refused() -> None:
    half = 8 * KIB
    fine = folder_torrent("d", ("a", 5, ""), (".pad/1", half, "p"), (".pad/2", half - 1, "p"))
    assert len(own_files(fine)) == 1
    much = folder_torrent("d", ("a", 5, ""), (".pad/1", half, "p"), (".pad/2", half, "p"))
    with pytest.raises(MetainfoError, match=r"'d/.pad/2' makes 16384 bytes of padding, more than"):
        own_files(much)


@pytest.mark.parametrize(
    ("name", "ours", "url"),
    [
        ("v1", "ds/v1", "https://m.example/root/ds/"),
        ("ds", "ds", "https://m.example/root/"),
        ("a b", "d #1/a b", "https://m.example/root/d%20%231/"),
        ("1", "ds/v1", None),
        ("ds", "ds/v1", None),
    ],
)
def test_a_folders_web_seed_is_what_its_name_lies_below(
    name: str, ours: str, url: str | None
) -> None:
    torrent = folder_torrent(name, ("a b", 5, ""), (".pad/3", 3, "p"), ("x/c", 3, ""))
    move = Move(name, ours)
    assert web_seed_url("https://m.example/root/", torrent, own_files(torrent), move) == url


def test_a_lone_files_web_seed_is_its_address_whatever_its_name(tmp_path: Path) -> None:
    torrent = parse(made(tmp_path, "other", {"": b"x"}))
    move = Move("other", "ds/v1/a #1")
    url = web_seed_url("https://m.example", torrent, own_files(torrent), move)
    assert url == "https://m.example/ds/v1/a%20%231"


def test_the_file_of_a_wrong_piece_is_named(tmp_path: Path) -> None:
    files = {"a": b"a" * 20 * KIB, "b": b"b" * 20 * KIB, "c": b"c" * 20 * KIB}
    torrent = parse(made(tmp_path, "d", files))
    ours = bytearray(torrent.pieces)
    ours[2 * 20] ^= 1
    assert wrong_piece(torrent, own_files(torrent), torrent.pieces) == ""
    said = wrong_piece(torrent, own_files(torrent), bytes(ours))
    assert said.startswith("piece 2 of 4 (bytes 32768 to 49151, in 'd/b') has sha1 ")
    assert "1 in all differ" in said
    assert "where our bytes make 3" in wrong_piece(torrent, own_files(torrent), bytes(ours[:60]))


def test_a_hybrid_of_two_minds_is_refused(tmp_path: Path) -> None:
    torrent = made(tmp_path, "d", {"a": b"a" * 20, "b": b"b"}, flags=HYBRID)
    tree: Any = {b"a": {b"": {b"length": 20, b"pieces root": b"r" * 32}}}
    for other in (tree, tree | {b"b": {b"": {b"length": 2}}}, {b"a": 7}, [], {b"\xff": tree}):
        parsed = parse(changed(torrent, **{"file tree": other}))
        with pytest.raises(
            MetainfoError, match="the v1 and the v2 half of 'd' are not of the same"
        ):
            v2_roots(parsed, own_files(parsed))
    parsed = parse(torrent)
    assert v2_roots(parsed, own_files(parsed)).keys() == {"d/a", "d/b"}


@pytest.mark.parametrize("pieces", [1, 2, 3, 5, 8, 9])
@pytest.mark.parametrize("piece", [16 * KIB, 64 * KIB])
def test_a_piece_layer_is_believed_only_if_it_leads_to_its_files_root(
    pieces: int, piece: int, tmp_path: Path
) -> None:
    files = {"a": noise("a", pieces * piece - 5), "b": b"b", "e": b""}
    data = made(tmp_path, "d", files, piece=piece, flags=HYBRID)
    torrent = parse(data)
    own = own_files(torrent)
    check_layers(data, torrent, own)
    outer: Any = decode(data)
    layers = outer.pop(b"piece layers", {})
    assert len(layers) == (pieces > 1)
    for root, layer in layers.items():
        with pytest.raises(MetainfoError, match="the piece layer of 'd/a' is missing"):
            check_layers(encode(outer), torrent, own)
        for other, said in (
            (layer[:-32], "is missing"),
            (layer[32:] + layer[:32], "does not lead"),
        ):
            with pytest.raises(MetainfoError, match=f"the piece layer of 'd/a' .*{said}"):
                check_layers(encode(outer | {b"piece layers": {root: other}}), torrent, own)
