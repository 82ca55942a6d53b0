"""Jobs done behind a stream: in order, all of them, and none after one that failed."""

import threading

import pytest

from workers.pull.behind import Behind
from workers.pull.extents import GRANULE


@pytest.mark.parametrize("apart", [True, False])
def test_all_jobs_are_done_in_order_before_it_is_left(*, apart: bool) -> None:
    done: list[int] = []
    with Behind(apart=apart) as behind:
        for number in range(100):
            behind.put(lambda number=number: done.append(number))  # type: ignore[misc]
    assert done == list(range(100))


def test_one_block_is_filled_while_another_is_in_use() -> None:
    mine, go_on = memoryview(bytearray(GRANULE)), threading.Event()

    def job() -> memoryview:
        go_on.wait()
        return mine

    with Behind(apart=True) as behind:
        behind.put(job)
        other = behind.block()
        behind.put(lambda: other)
        assert len(other) == GRANULE
        assert other is not mine
        go_on.set()
        assert behind.block() is mine


@pytest.mark.parametrize("apart", [True, False])
def test_what_a_job_raises_ends_all_and_is_raised(*, apart: bool) -> None:
    done: list[str] = []

    def fail() -> None:
        raise OSError("the disk is gone")

    def work() -> None:
        with Behind(apart=apart) as behind:
            behind.put(lambda: done.append("before"))
            behind.put(fail)
            if apart:
                behind.block()  # the first is free
                behind.block()  # none comes any more
            behind.put(lambda: done.append("after"))

    with pytest.raises(OSError, match="the disk is gone"):
        work()
    assert done == ["before"]


def test_a_failed_job_counts_for_more_than_what_it_made_the_stream_stumble_over() -> None:
    def fail() -> None:
        raise OSError("the disk is gone")

    def work() -> None:
        with Behind(apart=True) as behind:
            behind.put(fail)
            raise ConnectionError("broke off")

    with pytest.raises(OSError, match="the disk is gone"):
        work()
