from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.messages import ItemResult
from workers.pull.answers import (
    Part,
    Validator,
    Wanted,
    content_range,
    continuable,
    judge,
    looks_like_page,
    refusal,
    retry_after,
)
from workers.pull.faults import Bad, Changed, Fault, Local, Passing, Refused, plain, result

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
STRONG, WEAK = Validator('"a"', "Sun"), Validator('W/"a"', "Sun")


def wanted(size: int | None = None, *, limit: int = 0, proven: bool = False) -> Wanted:
    return Wanted("mirror.example", "census.zip", size, limit, proven)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("", 0),
        ("7", 7),
        ("-7", 0),
        ("1e9", 0),
        ("\u0667", 0),
        ("soon", 0),
        (format_datetime(NOW + timedelta(seconds=90), usegmt=True), 90),
        (format_datetime(NOW - timedelta(seconds=90), usegmt=True), 0),
        ("Sun, 01 Mar 2026 12:01:00 -0000", 60),
        ("Mon, 01 Jan 99999999999999999999 00:00:00 GMT", 0),
        ("Sun, 01 Mar 2026 12:01:00 +99999999999999999999", 0),
        ("Sun, 01 Mar 2026 12:01:00 +9999", 0),
    ],
)
def test_retry_after_is_read_in_both_its_forms(text: str, seconds: float) -> None:
    assert retry_after({"retry-after": text}, NOW) == seconds


@given(st.text())
def test_no_retry_after_breaks_us(text: str) -> None:
    assert retry_after({"retry-after": text}, NOW) >= 0


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("bytes 0-4/10", (0, 4, 10)),
        ("bytes 5-9/*", (5, 9, None)),
        ("bytes 5-4/10", None),
        ("bytes 5-10/10", None),
        ("bytes */10", None),
        ("items 0-4/10", None),
        ("", None),
    ],
)
def test_content_range_is_read_or_thrown_out(
    text: str, found: tuple[int, int, int | None] | None
) -> None:
    assert content_range({"content-range": text}) == found


@pytest.mark.parametrize(
    ("part", "unproven"),
    [
        (Part(), True),
        (Part(5, 10, STRONG), True),
        (Part(5, None, STRONG), True),
        (Part(5, 10, WEAK), True),
        (Part(5, None, WEAK), False),
        (Part(5, 10, Validator('W/"a"')), False),
        (Part(5, 10, Validator()), False),
        (Part(5, 10, STRONG, same_url=False), False),
    ],
)
def test_a_part_is_continued_by_the_rules(part: Part, unproven: bool) -> None:
    assert continuable(part, proven=False) is unproven
    assert continuable(part, proven=True)


@pytest.mark.parametrize(
    ("part", "asked"),
    [
        (Part(), {}),
        (Part(5, 10, STRONG), {"Range": "bytes=5-", "If-Range": '"a"'}),
        (Part(5, 10, WEAK), {"Range": "bytes=5-", "If-Range": "Sun"}),
        (Part(5, 10, STRONG, same_url=False), {"Range": "bytes=5-"}),
        (Part(5, 10, Validator()), {"Range": "bytes=5-"}),
    ],
)
def test_the_rest_is_asked_for_on_the_condition_that_it_is_the_same_file(
    part: Part, asked: dict[str, str]
) -> None:
    assert part.headers() == asked


REST = {"content-range": "bytes 5-9/10", "etag": '"a"', "last-modified": "Sun"}


@pytest.mark.parametrize(
    ("changed", "part"),
    [
        ({"etag": '"b"'}, Part(5, 10, STRONG)),
        ({"etag": ""}, Part(5, None, STRONG)),
        ({"etag": "", "last-modified": ""}, Part(5, 10, STRONG)),
        ({"etag": "", "last-modified": "Mon"}, Part(5, 10, STRONG)),
        ({"content-range": "bytes 5-10/11"}, Part(5, 10, STRONG)),
        ({"content-range": "bytes 5-9/*"}, Part(5, 10, WEAK)),
    ],
)
def test_an_unproven_part_is_not_joined_with_what_may_be_another_file(
    changed: dict[str, str], part: Part
) -> None:
    judge(206, REST, wanted(), Part(5, 10, STRONG))
    with pytest.raises(Changed):
        judge(206, {**REST, **changed}, wanted(), part)


def test_another_source_may_continue_a_proven_part_of_any_validator() -> None:
    body = judge(206, REST, wanted(proven=True), Part(5, 10, Validator('"z"'), same_url=False))

    assert (body.start, body.size) == (5, 10)


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 599])
def test_some_refusals_pass(status: int) -> None:
    found = refusal(status, {"retry-after": "3"}, "mirror.example")

    assert isinstance(found, Passing)
    assert found.wait == 3
    assert isinstance(refusal(status, {"retry-after": "11"}, "mirror.example"), Bad)


@pytest.mark.parametrize("status", [204, 206, 304, 400, 401, 403, 404, 405, 410, 451])
def test_other_refusals_do_not(status: int) -> None:
    with pytest.raises(Bad, match=rf"^mirror\.example: answered {status} "):
        judge(status, {}, wanted(), Part())


@pytest.mark.parametrize(
    ("start", "is_page"),
    [
        (b"<!DOCTYPE HTML>", True),
        (b"\xef\xbb\xbf \r\n<!doctype html>", True),
        (b"<html lang=en>", True),
        (b"<?xml version='1.0'?>", False),
        (b"id,name\n1,<html>", False),
        (b"", False),
    ],
)
def test_a_page_is_known_by_its_first_bytes(start: bytes, is_page: bool) -> None:
    assert looks_like_page("census.csv", start) is is_page
    assert not looks_like_page("index.HTM", start)


def test_reasons_are_one_short_printable_line() -> None:
    assert plain("a\r\nb\x1b[31m\u202ec") == "ab[31mc"
    assert len(plain("x" * 1000)) == 120


@pytest.mark.parametrize(
    ("faults", "expected"),
    [
        ([Refused("r")], ("r", True, "refused")),
        ([Refused("r"), Passing("p"), Bad("b")], ("b; p; r", False, "source")),
        ([Bad("b"), Bad("b")], ("b", False, "source")),
        ([Local("l")], ("l", False, "local")),
        (
            [Bad(name) for name in "abcde"],
            ("a; b; c; and 2 more sources failed", False, "source"),
        ),
    ],
)
def test_the_reason_of_an_item_is_put_together(
    faults: list[Fault], expected: tuple[str, bool, str]
) -> None:
    found: ItemResult = result("one", faults)

    assert not found.ok
    assert (found.reason, found.final, found.fault) == expected
