"""Probes: does a site really serve the bytes it is said to hold, in ranges, right now?

A HEAD or a single byte proves little: proxies were seen to pass both and to cut every range that
is long enough to be a piece.  So a probe reads a whole piece (all of a small file), by a range as
web seeds' clients do, and checks its digest.  It asks each item's first source only, once:
how a site answers now is the very thing to be known.  Where its provider's budget has no room for
that, it is not asked: a probe waits for a share no longer than for an answer.
"""

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from time import monotonic

from fleet.messages import Item, ItemResult, Order, Sample, Source
from fleet.settings import SiteSettings
from workers.digests import Bep52
from workers.lease import Lease
from workers.pull.answers import Wanted, check_kind, content_range, refusal
from workers.pull.faults import Again, Bad, Fault, Local, Passing, Refused, Worthless, plain, result
from workers.pull.pace import Gone, Pace
from workers.pull.tally import Tallies, Tally
from workers.pull.web import Answer, Web
from workers.quotas import Stream
from workers.work import Work

PATIENCE = 4  # a whole answer may take this many times ``stall_seconds``
WATCH_SECONDS = 0.2


def probe(order: Order, lease: Lease, settings: SiteSettings) -> Work:
    """Read each item's sample from its first source and check it.

    An item that is ok was served right; of one that is not, the reason says how it was served.

    Raises:
        Stopped: the lease ended.
    """
    with Web(settings) as web, ThreadPoolExecutor(order.budget.streams) as threads:
        probing = _Probing(web, Pace(lease), lease, settings.stall_seconds)
        jobs = [threads.submit(probing.item, item) for item in order.items]
        try:
            while wait(jobs, WATCH_SECONDS).not_done:
                lease.check()
            results = tuple(job.result() for job in jobs)
        finally:
            web.cut()
            threads.shutdown(cancel_futures=True)
    tallies = probing.tallies
    return Work(items=results, sources=tallies.reports(), bytes_fetched=tallies.bytes)


class _Probing:
    """One probe order under way."""

    def __init__(self, web: Web, pace: Pace, lease: Lease, stall: float) -> None:
        self.tallies = Tallies()
        self._web = web
        self._pace = pace
        self._lease = lease
        self._stall = stall

    def item(self, item: Item) -> ItemResult:
        """Probe one item; every failure becomes its result."""
        source = next((one for one in item.sources if one.kind == "http"), None)
        try:
            if item.sample is None or source is None:
                raise Refused(
                    f"{plain(item.path)}: the order gives no sample or no source to probe"
                )
            self._probe(item, item.sample, source)
        except Worthless as fault:
            return ItemResult(artifact=item.artifact, ok=False, reason=str(fault), fault="corrupt")
        except Fault as fault:
            return result(item.artifact, [fault])
        return ItemResult(artifact=item.artifact, ok=True, source=source.url)

    def _probe(self, item: Item, sample: Sample, source: Source) -> None:
        """Ask for the sample and check what comes."""
        tally = self.tallies.of(source)
        try:
            with self._turn(tally) as stream:
                stream.asked = True
                answer = self._web.get(source, _range(sample), self._ask)
                deadline = monotonic() + PATIENCE * self._stall  # our waits on the way are ours
                try:
                    wanted = Wanted(tally.host, item.path, item.size, limit=0, proven=True)
                    _check_headers(answer, wanted, sample)
                    body = self._read(answer, sample, tally, deadline)
                finally:
                    stream.asked = not answer.close()
            _check_body(body, sample, tally.host)
        except Fault as fault:
            self._pace.strained(tally, fault)
            tally.blame(fault)
            raise

    @contextmanager
    def _turn(self, tally: Tally) -> Iterator[Stream]:
        """Wait for a request's turn; count it and the time that its answer takes.

        Raises:
            Local: its provider has no room for it in time.
        """
        with ExitStack() as held:
            with self._in_time(tally.host) as spent:
                stream = held.enter_context(self._pace.stream(tally.host, spent))
            self._ask(tally.host)
            held.enter_context(tally.request())
            yield stream

    def _ask(self, host: str) -> None:
        """Wait for the turn of one request.

        Raises:
            Local: its provider has no room for it in time.
        """
        with self._in_time(host) as spent:
            self._pace.request(host, spent)

    @contextmanager
    def _in_time(self, host: str) -> Iterator[Gone]:
        """Lend what tells that a host's provider was waited for long enough."""
        until = monotonic() + self._stall
        try:
            yield lambda: monotonic() > until and bool(self._pace.provider(host))
        except Again as error:
            provider = self._pace.provider(host)
            raise Local(f"not asked: {provider}'s budget is spent") from error

    def _read(self, answer: Answer, sample: Sample, tally: Tally, deadline: float) -> memoryview:
        """Read at most one byte more than the sample has."""
        body = memoryview(bytearray(sample.length + 1))
        done = 0
        try:
            while done < len(body):
                began = monotonic()
                allowed = self._pace.take(tally.host, len(body) - done)
                waited = monotonic() - began
                tally.waited(waited)
                deadline += waited
                count = answer.readinto(body[done : done + allowed])
                self._pace.give_back(tally.host, allowed - count)
                if not count:
                    break
                done += count
                tally.came(count)
                self._lease.advance(count)
                if monotonic() > deadline:
                    raise Passing(f"{tally.host}: took longer than {PATIENCE * self._stall:g} s")
        except TimeoutError as error:
            said = f"{tally.host}: sent {done} of {sample.length} bytes and then nothing"
            raise Passing(f"{said} for {self._stall:g} s") from error
        except ConnectionError as error:
            said = f"{tally.host}: sent {done} of {sample.length} bytes and then broke off"
            raise Passing(said) from error
        return body[:done]


def _range(sample: Sample) -> dict[str, str]:
    """Ask for the sample by its range; an empty file has none that could be asked for."""
    if not sample.length:
        return {}
    return {"Range": f"bytes={sample.start}-{sample.start + sample.length - 1}"}


def _check_headers(answer: Answer, wanted: Wanted, sample: Sample) -> None:
    """Demand the very range that was asked for.

    Raises:
        Bad, Passing: the answer is something else.
    """
    status, headers = answer.status, answer.headers
    if status not in {200, 206}:
        raise refusal(status, headers, wanted.host)
    check_kind(headers, wanted)
    if not sample.length:
        return
    if status == 200:
        raise Bad(f"{wanted.host}: ignores ranges: answered one with 200 and the whole file")
    found = content_range(headers)
    last = sample.start + sample.length - 1
    if found is None or found[:2] != (sample.start, last):
        said = plain(headers.get("content-range", "no Content-Range"))
        raise Bad(f"{wanted.host}: was asked for bytes {sample.start}-{last} and answered {said!r}")
    if None not in (found[2], wanted.size) and found[2] != wanted.size:
        raise Bad(f"{wanted.host}: its file has {found[2]} bytes where {wanted.size} were expected")


def _check_body(body: memoryview, sample: Sample, host: str) -> None:
    """Compare the bytes with the sample.

    Raises:
        Bad: there are too few or too many.
        Worthless: they are the wrong ones.
    """
    if len(body) != sample.length:
        less = "only " if len(body) < sample.length else "more than "
        count = min(len(body), sample.length)
        raise Bad(f"{host}: sent {less}{count} of the {sample.length} bytes asked for")
    for kind, expected, compute in (
        ("sha256", sample.sha256, _sha256),
        ("BEP 52 root", sample.bep52, _root),
        ("sha1", sample.sha1, _sha1),
    ):
        if expected is not None and (got := compute(body)) != expected:
            wrong = f"{kind} {got[:16]}… where {expected[:16]}… was expected"
            raise Worthless(f"{host}: serves the wrong bytes from {sample.start} on ({wrong})")


def _sha256(body: memoryview) -> str:
    return hashlib.sha256(body).hexdigest()


def _root(body: memoryview) -> str:
    tree = Bep52()
    tree.update(body)
    return tree.finish() or ""


def _sha1(body: memoryview) -> str:
    # what v1 pieces have (BEP 3); who probes looks for decay, not for forgery
    return hashlib.sha1(body, usedforsecurity=False).hexdigest()
