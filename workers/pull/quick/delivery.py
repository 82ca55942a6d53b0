"""Small bodies on their way from memory to their places: proved, staged, and landed in batches."""

import os
from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path

import httpx

from fleet.messages import Item, ItemResult
from workers.digests import Found, digest, kinds, mismatch, parts_of, pieces_of
from workers.pull.answers import Part, Wanted, judge, looks_like_page, page, refusal
from workers.pull.faults import Bad, Local, Worthless
from workers.pull.quick.hosts import Ask, Host
from workers.pull.run import Run
from workers.pull.web.heads import Head
from workers.storage.posix import FILE_MODE
from workers.work import well

Delivered = Callable[[Item, ItemResult], None]


class Delivery:
    """Takes bodies from any thread; tells ``delivered`` of each that is in its place, durably."""

    def __init__(self, run: Run, folder: Path, delivered: Delivered) -> None:
        self._run = run
        self._delivered = delivered
        self._folder = folder
        self._numbers = count()

    def wanted(self, host: Host, ask: Ask) -> Wanted:
        """Say what an answer has to be."""
        limit = self._run.order.max_bytes
        return Wanted(host.tally.host, ask.item.path, ask.size, limit, host.proven)

    def judge(self, host: Host, ask: Ask, head: Head, body: memoryview) -> None:
        """Take the whole body of a plain answer if it is what was asked for.

        Raises:
            Bad, Passing: it is not.
            Local: this host cannot store it.
        """
        if not host.proven:
            judge(head.status, httpx.Headers(head.fields), self.wanted(host, ask), Part())
        elif head.status != 200:
            raise refusal(head.status, httpx.Headers(head.fields), host.tally.host)
        self.take(host, ask, body)

    def take(self, host: Host, ask: Ask, body: memoryview) -> None:
        """Prove a body, stage it and have it landed.

        Raises:
            Bad: it is not the right one.
            Local: this host cannot store it.
        """
        run, order, item = self._run, self._run.order, ask.item
        if not host.proven and looks_like_page(item.path, bytes(body[:512])):
            raise page(self.wanted(host, ask), "by its first bytes")
        found = digest(body, kinds(order, item), pieces_of(order, len(body)), parts_of(order))
        if wrong := mismatch(item, found):
            if host.tally.strict:  # all of it came in one answer
                lied = Worthless(f"{host.tally.host}: sent the wrong bytes ({wrong})")
                host.tally.blame(lied, wrong, ask.source.url)
            raise Bad(f"{host.tally.host}: sent the wrong bytes ({wrong})")
        host.delivered()
        staged = f"{self._folder}/{next(self._numbers)}"
        try:
            _write(staged, body)
            told = partial(self._landed, ask, found)
            run.landing.add(staged, ask.final, False, told, size=len(body))
        except OSError as error:
            raise Local(f"this host cannot store {item.path}: {error.strerror}") from error

    def _landed(self, ask: Ask, found: Found, error: OSError | None) -> None:
        """Tell that a file is in its place; one that could not be put there is left."""
        if error is None:
            self._delivered(ask.item, well(ask.item, found, self._run.blobs, ask.source.url))


def _write(path: str, body: memoryview) -> None:
    """Write a new file."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o600)
    try:
        os.fchmod(descriptor, FILE_MODE)
        while body:
            body = body[os.write(descriptor, body) :]
    finally:
        os.close(descriptor)
