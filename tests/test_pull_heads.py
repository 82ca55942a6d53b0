"""The heads of plain answers, whole and torn, proper and strange."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.web_support import plain
from workers.pull.web.heads import MAX_HEAD, Head, Odd, check_length, head_end, parse_head, request


def take_head(received: bytearray) -> Head | None:
    """Take the next head off the front, as a line does; None if it is not whole yet."""
    while end := head_end(received):
        raw = bytes(received[:end])
        del received[:end]
        if head := parse_head(raw):
            return head
    check_length(len(received))
    return None


@given(st.lists(st.binary(max_size=40), max_size=4), st.integers(1, 50))
def test_heads_are_found_however_they_come(bodies: list[bytes], step: int) -> None:
    sent = b"".join(plain(body, "ETag: x") for body in bodies)
    received, found, wanted = bytearray(), [], -1
    for at in range(0, len(sent), step):
        received += sent[at : at + step]
        while True:
            if wanted < 0:
                head = take_head(received)
                if head is None:
                    break
                assert (head.status, head.keeps) == (200, True)
                wanted = head.length
            if len(received) < wanted:
                break
            found.append(bytes(received[:wanted]))
            del received[:wanted]
            wanted = -1
    assert found == bodies


WORDS = [b"HTTP/1.1 ", b"200 OK", b"\r\n", b"\n", b"Content-Length: ", b"5", b"Transfer-Encoding: "]
WORDS += [b"chunked", b" ", b"\0", b"Connection: close", b"100", b"\xff"]


@given(st.lists(st.one_of(st.sampled_from(WORDS), st.binary(max_size=3))).map(b"".join))
def test_no_bytes_are_too_strange_for_a_head(sent: bytes) -> None:
    received = bytearray(sent)
    try:
        head = take_head(received)
    except Odd:
        return
    if head is None:
        assert sent.endswith(received)
    else:
        assert head.length >= 0
        assert head.status >= 200


def test_a_head_has_its_bounds() -> None:
    with pytest.raises(Odd, match="longer than 102400"):
        take_head(bytearray(b"HTTP/1.1 200 OK\r\nX: " + b"x" * MAX_HEAD))


@pytest.mark.parametrize("sign", [b"\r", b"\n", b"\0"])
def test_a_request_is_one_request(sign: bytes) -> None:
    with pytest.raises(Odd):
        request(b"/", [(b"If-Range", b'"x' + sign + b'"')])
