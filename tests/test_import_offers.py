"""What holds for whatever a repository says: its names never collide."""

import unicodedata
from pathlib import PurePosixPath

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fleet.importers.batch import artifacts_offered
from fleet.importers.draft import MAX_ITEMS, ImportRefused
from fleet.importers.offer import MAX_SIZE, Offer

unhurried = settings(deadline=None)  # a busy machine is no failure

PATHS = ["a", "A", "a/b", "A/b", "a.zip", "a.ZIP", "é", "e\u0301", "..", "../a", "/a", "", ".g"]
paths = st.one_of(
    st.sampled_from(PATHS), st.lists(st.sampled_from(PATHS), min_size=2, max_size=3).map("/".join)
)
urls = st.builds(
    "https://{}/{}".format, st.sampled_from(["a.example", "b.example"]), st.sampled_from(PATHS)
)
sizes = st.one_of(st.none(), st.integers(), st.sampled_from(["3", "-3", 3.0, 2.5, True, {}]))
offers = st.builds(
    Offer,
    urls=st.lists(urls, max_size=3).map(tuple),
    path=paths,
    size=sizes,
    md5=st.sampled_from([None, "0" * 32, "F" * 32, "x", 7]),
)


def key(path: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())


@unhurried
@given(st.lists(offers, min_size=1, max_size=8))
@example(
    [Offer(("https://a/x",), "a"), Offer(("https://a/y",), "A"), Offer(("https://a/z",), "a/b")]
)
def test_paths_are_contained_and_never_in_each_others_way(offered: list[Offer]) -> None:
    artifacts, notes = artifacts_offered(offered)
    good = [one for one in artifacts if not one.refused]
    keys = [PurePosixPath(key(one.path)) for one in good]
    assert len(set(keys)) == len(keys)
    for one in good:
        parts = one.path.split("/")
        assert not any(part.startswith(".") or part == "" for part in parts)
        assert not set(PurePosixPath(key(one.path)).parents).intersection(keys)
        assert one.sources
        assert one.size is None or 0 <= one.size < MAX_SIZE
        assert one.md5 in {None, "0" * 32, "f" * 32}
    assert all(text.isprintable() for text in notes)
    assert all(one.refused.isprintable() for one in artifacts)


@unhurried
@given(
    st.lists(offers, min_size=1, max_size=8).flatmap(
        lambda b: st.tuples(st.just(b), st.permutations(b))
    )
)
def test_the_order_of_the_files_changes_no_path(both: tuple[list[Offer], list[Offer]]) -> None:
    one, other = (artifacts_offered(offered)[0] for offered in both)
    assert {(i.path, frozenset(i.sources), i.size, i.md5) for i in one if i.path} == {
        (i.path, frozenset(i.sources), i.size, i.md5) for i in other if i.path
    }


def test_more_files_than_one_import_may_hold_are_refused_unread() -> None:
    with pytest.raises(ImportRefused, match="more than 1,000,000 files"):
        artifacts_offered([Offer(())] * (MAX_ITEMS + 1))


def test_one_file_offered_with_two_sizes_is_refused() -> None:
    url = ("https://a.example/x",)
    artifacts, _ = artifacts_offered([Offer(url, "x", size=1), Offer(url, "x", size=2)])
    assert [one.refused for one in artifacts] == ["files 1, 2 give different sizes for x"]
