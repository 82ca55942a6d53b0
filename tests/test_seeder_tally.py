"""The month's count under a clock that is wrong for a while."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
import structlog

from workers.seeder.tally import Tally

NOW = datetime(2027, 1, 31, tzinfo=UTC)
WRONG = datetime(2036, 2, 7, tzinfo=UTC)
FIRST = datetime(1970, 1, 1, tzinfo=UTC)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "uploads.json"


def counted(path: Path, now: datetime, sent: int) -> Tally:
    tally = Tally(path, now)
    tally.add(sent, 0, now)
    tally.save()
    return tally


def test_a_month_far_ahead_is_unknown_and_told_of_with_the_remedy(path: Path) -> None:
    counted(path, WRONG, 7)
    with structlog.testing.capture_logs() as log:
        tally = counted(path, NOW, 10**9)
    assert tally.sent is None
    (said,) = [line for line in log if line["log_level"] == "error"]
    assert said["reason"] == "it counts 2036-02, and the clock says 2027-01"
    assert "remove it to count from nothing" in said["remedy"]
    assert Tally(path, WRONG).sent == 7, "it was left as it is"
    path.unlink()
    assert counted(path, NOW, 5).sent == 5


def test_a_clock_that_jumps_ahead_and_back_is_told_of_once(path: Path) -> None:
    tally = counted(path, NOW, 3)
    with structlog.testing.capture_logs() as log:
        tally.add(1, 0, WRONG)
        tally.add(1, 0, NOW)
        tally.add(1, 0, NOW)
    assert tally.sent is None
    assert len([line for line in log if line["log_level"] == "error"]) == 1


def test_a_clock_that_began_in_1970_and_was_set_right_loses_no_count(path: Path) -> None:
    counted(path, NOW, 10)
    tally = Tally(path, FIRST)
    tally.add(1, 0, FIRST)
    assert tally.sent is None
    tally.add(1, 0, NOW)
    assert tally.sent == 11


def test_the_next_month_is_not_far_ahead(path: Path) -> None:
    counted(path, datetime(2027, 2, 1, tzinfo=UTC), 10)
    assert counted(path, NOW, 1).sent == 11
