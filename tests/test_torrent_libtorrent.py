"""Our hashes of files beside libtorrent's, for layouts that torrents get wrong."""

from pathlib import Path

import pytest

from benchmarks.layouts import Layout, differences, layouts
from fleet.torrent.merkle import LEAF


@pytest.mark.parametrize("layout", list(layouts(40)), ids=lambda layout: layout.name.split()[-1])
def test_pieces_roots_and_layers_are_libtorrents(layout: Layout, tmp_path: Path) -> None:
    layout.write(tmp_path)

    assert differences(layout, tmp_path) == []


def test_the_layouts_are_those_that_torrents_get_wrong() -> None:
    drawn = list(layouts(40))
    near = {(size - layout.piece_length) for layout in drawn for _, size in layout.files}

    assert near >= {-1, 0, 1}
    assert {size for layout in drawn for _, size in layout.files} >= {
        *(0, 1, LEAF - 1, LEAF, LEAF + 1)
    }
    assert {layout.single for layout in drawn} == {True, False}
    assert any("/" in path and not path.isascii() for layout in drawn for path, _ in layout.files)
