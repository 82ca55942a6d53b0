"""Files that would have the same path, and lines that name the same file."""

from hashlib import sha256
from itertools import permutations

import pytest

from fleet.importers import Draft, draft_of_list


def read(*lines: str) -> Draft:
    return draft_of_list("\n".join(lines).encode(), "list.txt")


def named(draft: Draft) -> dict[str, str]:
    """Map each file's first source to its path."""
    assert not [item.refused for item in draft.artifacts if item.refused]
    return {item.sources[0]: item.path for item in draft.artifacts}


def every_order(expected: dict[str, str], suffix: dict[str, str] | None = None) -> None:
    blocks = [url + (suffix or {}).get(url, "") for url in expected]
    for order in permutations(blocks):
        assert named(read(*order)) == expected


def test_files_of_the_same_name_get_as_few_parents_as_tell_them_apart() -> None:
    every_order(
        {
            "https://a.example/x/2021/data.csv": "2021/data.csv",
            "https://a.example/x/2022/data.csv": "2022/data.csv",
            "https://a.example/x/other.csv": "other.csv",
        }
    )


def test_all_members_of_a_group_get_the_same_number_of_parents() -> None:
    every_order(
        {
            "https://a.example/x/2021/data.csv": "x/2021/data.csv",
            "https://a.example/y/2021/data.csv": "y/2021/data.csv",
            "https://a.example/z/2022/data.csv": "z/2022/data.csv",
        }
    )


def test_after_the_parents_the_host_tells_them_apart() -> None:
    every_order(
        {
            "https://a.example/d/data.csv": "a.example/d/data.csv",
            "https://b.example/d/data.csv": "b.example/d/data.csv",
        }
    )
    every_order(
        {
            "http://127.0.0.1:8001/data.csv": "127.0.0.1-8001/data.csv",
            "http://127.0.0.1:8002/data.csv": "127.0.0.1-8002/data.csv",
        }
    )


def test_case_and_unicode_form_do_not_tell_files_apart() -> None:
    every_order(
        {
            "https://a.example/1/A.zip": "1/A.zip",
            "https://a.example/2/a.zip": "2/a.zip",
        }
    )
    every_order(
        {
            "https://a.example/1/%C3%89t%C3%A9": "1/Été",
            "https://a.example/2/e%CC%81te%CC%81": "2/été",
        }
    )
    every_order(
        {
            "https://a.example/1/STRASSE": "1/STRASSE",
            "https://a.example/2/stra%C3%9Fe": "2/straße",
        }
    )


def test_a_file_never_stands_where_a_folder_must() -> None:
    every_order(
        {"https://a.example/d/a": "d/a", "https://a.example/d/b": "a/b"},
        {"https://a.example/d/b": "\n out=a/b"},
    )
    every_order(
        {"https://a.example/d/y": "d/a", "https://a.example/e/z": "e/A/b"},
        {"https://a.example/d/y": "\n out=a", "https://a.example/e/z": "\n out=A/b"},
    )


def test_a_group_that_runs_into_another_file_goes_further() -> None:
    every_order(
        {
            "https://a.example/r/2021/x.csv": "r/2021/x.csv",
            "https://a.example/r/2022/x.csv": "r/2022/x.csv",
            "https://a.example/s/y": "2021/x.csv",
        },
        {"https://a.example/s/y": "\n out=2021/x.csv"},
    )


def test_groups_that_meet_share_the_least_number_that_serves_both() -> None:
    every_order(
        {
            "https://a.example/r/2021/x": "2021/x",
            "https://a.example/s/2022/x": "2022/x",
            "https://b.example/t/2021": "t/2021",
        }
    )


def test_no_file_lies_below_one_that_was_asked_for() -> None:
    every_order(
        {
            "https://a.example/r/2021/x": "r/2021/x",
            "https://a.example/r/2022/x": "r/2022/x",
            "https://b.example/y": "2021",
        },
        {"https://b.example/y": "\n out=2021"},
    )


def test_no_more_parents_are_taken_than_fit_a_path() -> None:
    long, deep = "/".join(["p" * 217] * 4), "/".join(["p"] * 32)
    for common in (long, deep):
        urls = [f"https://a.example/{number}/{common}/x" for number in (1, 2)]
        every_order({url: f"x-{sha256(url.encode()).hexdigest()[:12]}" for url in urls})
    short = "/".join(["p"] * 31)
    every_order({f"https://a.example/{n}/{short}/x": f"{n}/{short}/x" for n in (1, 2)})


def test_a_path_without_room_for_a_host_gets_a_digest() -> None:
    out = "/".join(["d" * 214] * 4) + "/data"  # 864 bytes of 880
    host = "a-host-of-many-letters.example"
    draft = read(f"https://{host}/1", f" out={out}", f"https://{host}/2", f" out={out}")
    tags = [sha256(f"https://{host}/{number}".encode()).hexdigest()[:12] for number in (1, 2)]
    assert [item.path for item in draft.artifacts] == [f"{out}-{tag}" for tag in tags]


def test_the_order_of_merged_lines_changes_no_path() -> None:
    merged = [
        "https://b.example/2/x\thttps://a.example/1/x",
        "https://a.example/1/x\thttps://b.example/2/x",
    ]
    for order in permutations([*merged, "https://c.example/3/x"]):
        assert {item.path for item in read(*order).artifacts} == {"1/x", "3/x"}
    alike = ["https://b.example/x\thttps://a.example/x", "https://a.example/x\thttps://b.example/x"]
    found = {
        frozenset(item.path for item in read(*order).artifacts)
        for order in permutations([*alike, "https://a.example/x?2"])
    }
    assert len(found) == 1


def test_a_path_that_was_asked_for_stays_when_another_can_move() -> None:
    draft = read("https://a.example/d/x.csv", "https://b.example/e/y.csv", " out=x.csv")
    assert named(draft) == {
        "https://a.example/d/x.csv": "d/x.csv",
        "https://b.example/e/y.csv": "x.csv",
    }
    assert draft.notes == ("line 1: x.csv → d/x.csv, because another file has that name",)


def test_two_files_asked_for_under_one_path_both_move_below_their_dir() -> None:
    draft = read(
        "https://a.example/1/x", " dir=d", " out=same", "https://a.example/2/y", " out=d/same"
    )
    assert named(draft) == {
        "https://a.example/1/x": "d/1/same",
        "https://a.example/2/y": "2/d/same",
    }


def test_a_dir_is_kept_even_where_a_file_was_asked_for() -> None:
    draft = read(
        "https://a.example/1/x", " out=d", "https://a.example/2/y", " dir=d", "https://a.example/y"
    )
    assert named(draft) == {
        "https://a.example/1/x": "1/d",
        "https://a.example/2/y": "d/2/y",
        "https://a.example/y": "y",
    }


def test_a_query_alone_tells_files_apart_by_a_digest() -> None:
    urls = [f"https://a.example/get.csv?id={number}" for number in range(3)]
    every_order({url: f"get-{sha256(url.encode()).hexdigest()[:12]}.csv" for url in urls})


def test_a_parent_that_is_no_safe_path_is_passed_over() -> None:
    every_order(
        {
            "https://a.example/one/..%2f../x": "one/x",
            "https://a.example/two/.git/x": "two/x",
        }
    )


def test_every_renaming_is_noted() -> None:
    draft = read("https://a.example/1/x", "https://a.example/y", "https://a.example/2/X")
    assert draft.notes == (
        "line 1: x → 1/x, because another file has that name",
        "line 3: X → 2/X, because another file has that name",
    )


def test_a_line_that_is_repeated_counts_once() -> None:
    draft = read(
        "https://a.example/x\thttps://b.example/x", "https://b.example/x\thttps://a.example/x"
    )
    assert [item.sources for item in draft.artifacts] == [
        ("https://a.example/x", "https://b.example/x")
    ]
    assert draft.notes == ("lines 1, 2 are duplicates: x is taken once",)


def test_a_repeated_line_may_bring_the_digest_or_the_path() -> None:
    draft = read(
        "https://a.example/x",
        "https://a.example/x",
        f" checksum=md5={'0' * 32}",
        "https://a.example/x",
        " out=y",
    )
    (item,) = draft.artifacts
    assert (item.path, item.md5) == ("y", "0" * 32)


def test_lines_of_one_name_that_share_a_url_are_one_file() -> None:
    draft = read(
        "https://a.example/x\thttps://b.example/x",
        "https://c.example/x\thttps://d.example/x",
        "https://b.example/x\thttps://c.example/x",
    )
    (item,) = draft.artifacts
    assert item.path == "x"
    assert item.sources == tuple(f"https://{host}.example/x" for host in "abcd")
    assert draft.notes == ("lines 1, 2, 3 share a URL: x is taken once, with 4 sources",)


def test_lines_of_different_names_that_share_a_url_stay_apart() -> None:
    draft = read(
        "https://a.example/x\thttps://b.example/x", "https://a.example/y\thttps://b.example/x"
    )
    assert [item.path for item in draft.artifacts] == ["x", "y"]
    assert draft.notes == (
        "x (line 1), y (line 2) share https://b.example/x but are listed as different files",
    )


def test_one_url_asked_for_under_two_paths_is_two_files() -> None:
    draft = read("https://a.example/x", " out=one", "https://a.example/x", " out=two")
    assert [item.path for item in draft.artifacts] == ["one", "two"]


def test_one_name_with_different_alternates_is_a_collision_not_a_merge() -> None:
    draft = read("https://a.example/1/x\thttps://b.example/x", "https://a.example/2/x")
    assert [item.path for item in draft.artifacts] == ["1/x", "2/x"]


@pytest.mark.parametrize("name", ["é" * 118, "x" * 236])
def test_what_cannot_be_told_apart_is_refused_not_dropped(name: str) -> None:
    draft = read(
        f"https://a.example/{name}?1", f"https://a.example/{name}?2", "https://a.example/y"
    )
    assert [item.path for item in draft.artifacts] == ["", "", "y"]
    assert all("collides with another file" in item.refused for item in draft.artifacts[:2])
