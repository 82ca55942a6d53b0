"""Probes: does a site really serve the bytes it is said to hold, in ranges, right now?

A HEAD or a single byte proves little: proxies were seen to pass both and to cut every range that
is long enough to be a piece.  So a probe reads a whole v1 piece (all of a small file), by a range
as web seeds' clients do, and checks its digest.  It asks each item's first source only, once:
how a site answers now is the very thing to be known.
"""

import asyncio
import hashlib

import httpx

from fleet.messages import Item, ItemResult, Order, Sample, Source
from fleet.settings import SiteSettings
from workers.lease import Lease
from workers.pull.answers import Wanted, check_kind, content_range, refusal
from workers.pull.faults import Bad, Fault, Passing, Refused, Worthless, plain, result
from workers.pull.lanes import each
from workers.pull.pace import Pace
from workers.pull.tally import Tallies, Tally
from workers.pull.web import NETWORK_ERRORS, Web
from workers.work import Work

PATIENCE = 4  # a whole answer may take this many times ``stall_seconds``


async def probe(order: Order, lease: Lease, settings: SiteSettings) -> Work:
    """Read each item's sample from its first source and check it.

    An item that is ok was served right; of one that is not, the reason says how it was served.

    Raises:
        Stopped: the lease ended.
    """
    async with Web(settings, streams=order.budget.streams) as web:
        probing = _Probing(web, Pace(lease), lease, settings.stall_seconds)
        results = await each(order.items, order.budget.streams, probing.item, lease)
    tallies = probing.tallies
    return Work(items=tuple(results), sources=tallies.reports(), bytes_fetched=tallies.bytes)


class _Probing:
    """One probe order under way."""

    def __init__(self, web: Web, pace: Pace, lease: Lease, stall: float) -> None:
        self.tallies = Tallies()
        self._web = web
        self._pace = pace
        self._lease = lease
        self._stall = stall

    async def item(self, item: Item) -> ItemResult:
        """Probe one item; every failure becomes its result."""
        source = next((one for one in item.sources if one.kind == "http"), None)
        try:
            if item.sample is None or source is None:
                raise Refused(
                    f"{plain(item.path)}: the order gives no sample or no source to probe"
                )
            tally = self.tallies.of(source)
            with tally.faults(), tally.request():
                await self._probe(item, item.sample, source, tally)
        except Worthless as fault:
            return ItemResult(artifact=item.artifact, ok=False, reason=str(fault), fault="corrupt")
        except Fault as fault:
            return result(item.artifact, [fault])
        return ItemResult(artifact=item.artifact, ok=True, source=source.url)

    async def _probe(self, item: Item, sample: Sample, source: Source, tally: Tally) -> None:
        """Ask for the sample and check what comes."""
        patience = PATIENCE * self._stall
        try:
            async with asyncio.timeout(patience):
                response = await self._web.get(source, _range(sample))
                try:
                    wanted = Wanted(tally.host, item.path, item.size, limit=0, proven=True)
                    _check_headers(response, wanted, sample)
                    body = await self._read(response, sample, tally)
                finally:
                    await response.aclose()
        except TimeoutError as error:
            raise Passing(f"{tally.host}: took longer than {patience:g} s") from error
        _check_body(body, sample, tally.host)

    async def _read(self, response: httpx.Response, sample: Sample, tally: Tally) -> bytes:
        """Read at most one byte more than the sample has."""
        body = bytearray()
        so_far = f"{tally.host}: sent"
        try:
            async for chunk in response.aiter_raw():
                body += chunk
                tally.bytes += len(chunk)
                self._lease.advance(len(chunk))
                tally.seconds -= await self._pace.take(len(chunk))
                if len(body) > sample.length:
                    break
        except httpx.TimeoutException as error:
            said = f"{so_far} {len(body)} of {sample.length} bytes and then nothing"
            raise Passing(f"{said} for {self._stall:g} s") from error
        except NETWORK_ERRORS as error:
            said = f"{so_far} {len(body)} of {sample.length} bytes and then broke off"
            raise Passing(said) from error
        return bytes(body)


def _range(sample: Sample) -> dict[str, str]:
    """Ask for the sample by its range; an empty file has none that could be asked for."""
    if not sample.length:
        return {}
    return {"Range": f"bytes={sample.start}-{sample.start + sample.length - 1}"}


def _check_headers(response: httpx.Response, wanted: Wanted, sample: Sample) -> None:
    """Demand the very range that was asked for.

    Raises:
        Bad, Passing: the answer is something else.
    """
    status, headers = response.status_code, response.headers
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


def _check_body(body: bytes, sample: Sample, host: str) -> None:
    """Compare the bytes with the sample.

    Raises:
        Bad: there are too few or too many.
        Worthless: they are the wrong ones.
    """
    if len(body) != sample.length:
        less = "only " if len(body) < sample.length else "more than "
        count = min(len(body), sample.length)
        raise Bad(f"{host}: sent {less}{count} of the {sample.length} bytes asked for")
    found = (
        ("sha256", sample.sha256, hashlib.sha256(body).hexdigest()),
        # SHA-1 is what v1 pieces have (BEP 3); who probes looks for decay, not for forgery.
        ("sha1", sample.sha1, hashlib.sha1(body, usedforsecurity=False).hexdigest()),
    )
    for kind, expected, got in found:
        if expected is not None and got != expected:
            wrong = f"{kind} {got[:16]}… where {expected[:16]}… was expected"
            raise Worthless(f"{host}: serves the wrong bytes from {sample.start} on ({wrong})")
