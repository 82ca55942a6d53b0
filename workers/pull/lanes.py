"""Work beside the event loop: in threads that are never left behind, and items side by side."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import ParamSpec, TypeVar

from workers.lease import Lease, Stopped

WATCH_SECONDS = 0.2
P = ParamSpec("P")
T = TypeVar("T")
R = TypeVar("R")


async def in_thread(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run ``work`` in a thread; a cancelled caller still waits for it to end.

    What it writes to is about to be closed, and a closed descriptor's number may be another's.
    """
    task = asyncio.ensure_future(asyncio.to_thread(work, *args, **kwargs))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        raise


class Lane:
    """Does ``work`` on blocks, each a few chunks, in order and one behind whoever brings them."""

    def __init__(self, work: Callable[[Sequence[bytes]], None]) -> None:
        self._work = work
        self._job: asyncio.Task[None] | None = None

    async def put(self, block: Sequence[bytes]) -> None:
        """Hand over the next block once the one before is done; raises what that one raised."""
        await self.drain()
        self._job = asyncio.create_task(in_thread(self._work, block))

    async def drain(self) -> None:
        """Wait until nothing is under way; raises what the last block raised."""
        job, self._job = self._job, None
        if job is not None:
            await job


async def each(
    items: Sequence[T], streams: int, work: Callable[[T], Awaitable[R]], lease: Lease
) -> list[R]:
    """Do ``work`` on all items, ``streams`` at a time; results are in the items' order.

    The lease is also asked while every stream waits for its source.

    Raises:
        Stopped: the centre wants the attempt to end; what was under way is cancelled.
    """
    done: dict[int, R] = {}
    todo = iter(enumerate(items))

    async def stream() -> None:
        for at, item in todo:
            done[at] = await work(item)

    async def watch() -> None:
        while True:
            lease.check()
            await asyncio.sleep(WATCH_SECONDS)

    stops: BaseExceptionGroup[Stopped] | None = None
    try:
        async with asyncio.TaskGroup() as group:
            watcher = group.create_task(watch())
            running = [group.create_task(stream()) for _ in range(min(streams, len(items)))]
            if running:
                await asyncio.wait(running)
            watcher.cancel()
    except* Stopped as raised:
        stops = raised
    if stops is not None:
        raise Stopped(str(stops.exceptions[0]))
    return [done[at] for at in range(len(items))]
