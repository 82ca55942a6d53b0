"""Which set may follow which, and what a manifest remembers."""

from dataclasses import replace

import pytest

from fleet.planning.latest import (
    Claimed,
    File,
    Manifest,
    Refused,
    bare,
    check,
    decode,
    encode,
    place,
    successor,
)


def a_set(
    number: int, *names: str, dataset: str = "census", gone: tuple[str, ...] = ()
) -> Manifest:
    version = f"v{number}"
    files = {
        name: File(f"{dataset}/{version}/{name}", 3, f"{number:x}" * 64, f"{number:x}" * 32)
        for name in names
    }
    return Manifest(dataset, version, number, files, gone)


def test_the_first_set_is_taken_as_it_is() -> None:
    assert successor(a_set(1, "a"), None, [], {}) == a_set(1, "a")


def test_what_the_new_set_lacks_is_remembered_to_be_removed() -> None:
    found = successor(a_set(2, "b", "c"), a_set(1, "a", "b"), [], {})
    assert found == a_set(2, "b", "c", gone=("a",))


def test_what_an_earlier_set_left_is_remembered_until_nothing_lies_there() -> None:
    current = a_set(2, "b", gone=("a", "z"))
    found = successor(a_set(3, "b"), current, [], {"a": False})
    assert found.gone == ("a",)


def test_a_name_that_comes_back_is_not_to_be_removed() -> None:
    found = successor(a_set(3, "a"), a_set(2, "b", gone=("a",)), [], {"a": False})
    assert found.gone == ("b",)


def test_the_same_set_again_leaves_the_manifest_as_it_is() -> None:
    current = a_set(2, "b", gone=("a",))
    assert successor(a_set(2, "b"), current, [], {}) is current


@pytest.mark.parametrize(
    "late", [a_set(1, "a"), a_set(2, "a"), replace(a_set(2, "b"), version="w")]
)
def test_neither_an_older_set_nor_another_of_the_same_number_replaces_it(late: Manifest) -> None:
    with pytest.raises(Refused, match=r"cannot be the latest set: v2 \(sequence 2\) is"):
        successor(late, a_set(2, "b"), [], {})


def test_a_name_of_another_dataset_is_refused() -> None:
    other = a_set(7, "a", dataset="roads")
    with pytest.raises(Claimed, match="a of census v1 belongs to roads v7"):
        successor(a_set(1, "a", "b"), None, [other], {})


def test_a_name_that_another_dataset_left_is_free_once_nothing_lies_there() -> None:
    other = a_set(7, "x", dataset="roads", gone=("a",))
    with pytest.raises(Claimed, match="belongs to roads v7"):
        successor(a_set(1, "a"), None, [other], {"a": True})
    assert successor(a_set(1, "a"), None, [other], {}).files.keys() == {"a"}


def test_other_bytes_that_belong_to_nobody_are_not_replaced() -> None:
    with pytest.raises(Claimed, match="processed/a has other bytes than census v1"):
        successor(a_set(1, "a"), None, [], {"a": False})
    assert successor(a_set(1, "a"), None, [], {"a": True}) == a_set(1, "a")


BAD = {
    "has no files": a_set(1),
    "has no place": a_set(1, "a", dataset="processed"),
    "'x/y' of census v1 cannot be a name": a_set(1, "x/y"),
    "'latest' of census v1 cannot be a name": a_set(1, "latest"),
    "'' of census v1 cannot be a name": a_set(1, ""),
    "not below census/v1/": replace(a_set(1), files={"a": File("roads/v1/a", 1, "0" * 64)}),
    "has digests that are none": replace(a_set(1), files={"a": File("census/v1/a", 1, "0")}),
}


@pytest.mark.parametrize("reason", BAD)
def test_a_set_that_cannot_be_one_is_refused(reason: str) -> None:
    with pytest.raises(Refused, match=reason):
        check(BAD[reason])


def test_a_manifest_reads_as_it_was_written_and_is_always_the_same() -> None:
    one = a_set(2, "b", "é", gone=("a",))
    assert decode(encode(one)) == one
    turned = replace(one, files=dict(reversed(one.files.items())))
    assert encode(turned) == encode(one)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b"[]",
        b"{}",
        b'{"files": {"a": 1}}',
        encode(a_set(1, "a", gone=("../x",))),
        encode(a_set(1, "a")).replace(b'"sequence": 1', b'"sequence": "1"'),
        encode(a_set(1, "a")).replace(b'"sequence"', b'"number"'),
    ],
)
def test_what_is_no_manifest_is_said_to_be_none(data: bytes) -> None:
    with pytest.raises(Refused, match="no manifest of a latest set"):
        decode(data)


def test_no_bare_name_lies_where_a_manifest_does() -> None:
    assert place("roads") == "processed/latest/roads.json"
    assert bare("roads.json") == "processed/roads.json"
