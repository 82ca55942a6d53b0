from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.torrent.bencode import (
    INTEGER_LIMIT,
    MAX_DEPTH,
    MAX_VALUES,
    BencodeError,
    decode,
    encode,
)

integers = st.integers(min_value=-INTEGER_LIMIT, max_value=INTEGER_LIMIT - 1)
values = st.recursive(
    integers | st.binary(max_size=40),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.binary(max_size=9), inner),
    max_leaves=20,
)


@given(values)
def test_what_is_written_reads_back(value: Any) -> None:
    assert decode(encode(value)) == value


@given(st.binary(max_size=60) | st.text("ilde0123456789:-ab", max_size=30).map(str.encode))
def test_whatever_is_accepted_is_canonical(data: bytes) -> None:
    try:
        value = decode(data)
    except BencodeError:
        return
    assert encode(value) == data


@given(values, st.data())
def test_a_damaged_value_is_refused_or_still_canonical(value: Any, data: Any) -> None:
    good = encode(value)
    at = data.draw(st.integers(0, len(good) - 1))
    bad = good[:at] + data.draw(st.binary(max_size=3)) + good[at + 1 :]
    try:
        read = decode(bad)
    except BencodeError:
        return
    assert encode(read) == bad


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"i",
        b"ie",
        b"i-e",
        b"i-0e",
        b"i01e",
        b"i-01e",
        b"i+1e",
        b"i 1e",
        b"i1_0e",
        b"i1",
        b"\xd9\xa1:a",
        b"01:a",
        b"-1:a",
        b"2:a",
        b"1",
        b"l",
        b"li1e",
        b"d",
        b"d1:ae",
        b"di1ei1ee",
        b"d1:bi1e1:ai1ee",
        b"d1:ai1e1:ai1ee",
        b"i1ei1e",
        b"x",
        b"e",
    ],
)
def test_malformed_input_is_refused(data: bytes) -> None:
    with pytest.raises(BencodeError):
        decode(data)


@pytest.mark.parametrize(
    "bomb",
    [
        pytest.param(b"l" * 100_000 + b"e" * 100_000, id="deep"),
        pytest.param(b"l" * (MAX_DEPTH + 2) + b"e" * (MAX_DEPTH + 2), id="one too deep"),
        pytest.param(b"l" + b"0:" * MAX_VALUES + b"e", id="many"),
        pytest.param(b"9999999999999999999999:a", id="length"),
        pytest.param(b"i" + b"9" * 1_000_000 + b"e", id="integer"),
        pytest.param(b"i%de" % INTEGER_LIMIT, id="65 bits"),
        pytest.param(b"i%de" % (-INTEGER_LIMIT - 1), id="minus 65 bits"),
    ],
)
def test_bombs_are_refused(bomb: bytes) -> None:
    with pytest.raises(BencodeError):
        decode(bomb)


def test_input_beyond_the_callers_bound_is_refused() -> None:
    assert decode(b"3:abc", max_bytes=5) == b"abc"
    with pytest.raises(BencodeError, match="5 bytes of bencoding are more than the 4"):
        decode(b"3:abc", max_bytes=4)


@pytest.mark.parametrize("value", ["text", 1.5, True, None, {"a": 1}, [b"a", {1: b"b"}], 1 << 63])
def test_what_has_no_form_is_not_written(value: Any) -> None:
    with pytest.raises(BencodeError):
        encode(value)
