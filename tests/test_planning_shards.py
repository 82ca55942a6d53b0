"""How a version is cut into shards."""

from collections.abc import Iterable
from itertools import pairwise
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from fleet.planning.facts import FileFacts
from fleet.planning.shards import cut
from tests.planning_support import unhurried

_paths = st.text(alphabet="abé/Z0.", min_size=1, max_size=6)
files = st.lists(
    st.builds(FileFacts, id=st.just("ar"), path=_paths, size=st.integers(0, 9)),
    unique_by=lambda file: file.path,
    max_size=30,
)
caps = st.fixed_dictionaries(
    {
        "alone_from": st.integers(1, 12),
        "bundle_bytes": st.integers(1, 25),
        "bundle_files": st.integers(1, 8),
    }
)


@unhurried
@given(files, caps)
def test_every_file_is_in_exactly_one_shard_in_the_order_of_the_paths(
    known: list[FileFacts], caps: dict[str, int]
) -> None:
    shards = cut(known, **caps)
    inside = [file for shard in shards for file in shard]
    if any(file.size for file in known):
        assert _sorted(inside) == _sorted(known)
    for shard in shards:
        assert list(shard) == _sorted(shard)
    firsts = [shard[0].path for shard in shards]
    assert firsts == sorted(firsts)


@unhurried
@given(files, caps)
def test_no_shard_is_empty(known: list[FileFacts], caps: dict[str, int]) -> None:
    assert all(sum(file.size for file in shard) for shard in cut(known, **caps))


@unhurried
@given(files, caps)
def test_no_shard_is_larger_than_its_caps_but_for_empty_files(
    known: list[FileFacts], caps: dict[str, int]
) -> None:
    for shard in cut(known, **caps):
        full = [file for file in shard if file.size]
        if len(full) > 1:
            assert sum(file.size for file in full) <= caps["bundle_bytes"]
            assert len(full) <= caps["bundle_files"]
            assert all(file.size < caps["alone_from"] for file in full)


@unhurried
@given(files, caps)
def test_no_two_bundles_would_fit_into_one(known: list[FileFacts], caps: dict[str, int]) -> None:
    """A bundle ends only where the next file would break a cap."""
    small = [
        shard
        for shard in cut(known, **caps)
        if all(file.size < caps["alone_from"] for file in shard)
    ]
    for shard, following in pairwise(small):
        held = sum(file.size for file in shard)
        assert held + following[0].size > caps["bundle_bytes"] or len(shard) >= caps["bundle_files"]


@unhurried
@given(files, caps, st.randoms(use_true_random=False))
def test_the_same_files_give_the_same_shards_in_whatever_order_they_come(
    known: list[FileFacts], caps: dict[str, int], chance: Random
) -> None:
    shuffled = known.copy()
    chance.shuffle(shuffled)
    assert cut(shuffled, **caps) == cut(known, **caps)


def test_a_large_file_does_not_end_the_bundle_around_it() -> None:
    known = [FileFacts(path, path, size) for path, size in (("a", 1), ("b", 50), ("c", 1))]
    shards = cut(known, alone_from=50, bundle_bytes=10, bundle_files=10)
    assert [[file.path for file in shard] for shard in shards] == [["a", "c"], ["b"]]


def test_no_files_make_no_shards() -> None:
    assert cut([], alone_from=1, bundle_bytes=1, bundle_files=1) == []


def test_empty_files_make_no_shard() -> None:
    known = [FileFacts(path, path, 0) for path in "ab"]
    assert cut(known, alone_from=1, bundle_bytes=1, bundle_files=1) == []


def test_empty_files_join_a_bundle_and_else_the_smallest_file() -> None:
    def paths(*sizes: int) -> list[str]:
        known = [FileFacts(path, path, size) for path, size in zip("abcdef", sizes, strict=False)]
        shards = cut(known, alone_from=50, bundle_bytes=10, bundle_files=2)
        return ["".join(file.path for file in shard) for shard in shards]

    assert paths(0, 0, 0, 1, 1) == ["abcd", "e"]
    assert paths(9, 9, 0, 0) == ["a", "bcd"]
    assert paths(60, 0, 50, 70) == ["a", "bc", "d"]
    assert paths(60, 0, 1) == ["a", "bc"]


def _sorted(known: Iterable[FileFacts]) -> list[FileFacts]:
    return sorted(known, key=lambda file: file.path)


@unhurried
@given(files, caps)
def test_what_is_alone_changes_nothing_about_the_other_shards(
    known: list[FileFacts], caps: dict[str, int]
) -> None:
    alone = FileFacts("ma", "manifest", 3, alone=True)
    assert cut([*known, alone], **caps) == sorted(
        [*cut(known, **caps), (alone,)], key=lambda shard: shard[0].path
    )
