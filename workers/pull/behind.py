"""Jobs that are done behind a stream: it reads on while the block before is written.

Rules this module keeps:

- Jobs are done in their order, and all of them before ``Behind`` is left; after one that failed,
  none.
- While one block is filled, one more is in use here: no stream holds more memory than that.
"""

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Self

from workers.pull.extents import GRANULE

Job = Callable[[], memoryview | None]  # gives the block that it does not need any more


class Behind:
    """Does jobs, in a thread of its own if ``apart``; use it as a context manager.

    Leaving it raises what a job raised.
    """

    def __init__(self, *, apart: bool) -> None:
        self._apart = apart
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._free: SimpleQueue[memoryview] = SimpleQueue()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="write", daemon=True)

    def __enter__(self) -> Self:
        if self._apart:
            try:
                self._thread.start()
            except RuntimeError:  # this host has no thread left: do without
                self._apart = False
                return self
            self._free.put(memoryview(bytearray(GRANULE)))
        return self

    def __exit__(self, *_: object) -> None:
        if self._apart:
            self._jobs.put(None)
            self._thread.join()
        self._raise()

    def put(self, job: Job) -> None:
        """Have a job done.

        Raises:
            Exception: what one before, or this one, raised.
        """
        self._raise()
        if self._apart:
            self._jobs.put(job)
        elif (block := job()) is not None:
            self._free.put(block)

    def block(self) -> memoryview:
        """Wait for a block of ``GRANULE`` bytes that nobody uses; one for each that was put."""
        block = self._free.get()
        self._raise()
        return block

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            if self._error is None:
                try:
                    block = job()
                except BaseException as error:  # noqa: BLE001 - raised where it is waited for
                    self._error, block = error, memoryview(b"")
                if block is not None:
                    self._free.put(block)
