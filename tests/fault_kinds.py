"""The ways in which the fault server misbehaves, by their names.

Each answers one exchange from its first byte; ``none`` is what an honest server does.
"""

from collections.abc import Callable

from tests.fault_exchange import STEP, Closed, Exchange

PAGE = b"<!DOCTYPE html>\n<html><body>Please log in</body></html>\n"
PATIENCE = 20.0

Fault = Callable[[Exchange], None]
FAULTS: dict[str, Fault] = {}


def _fault(answer: Fault) -> Fault:
    FAULTS[answer.__name__] = answer
    return answer


@_fault
def none(exchange: Exchange) -> None:
    """Serve it as it should be."""
    exchange.proper_head()
    exchange.send(exchange.data())


@_fault
def no_validators(exchange: Exchange) -> None:
    """Serve ranges, but say nothing that tells one state of the file from another."""
    cut = _cut(exchange)
    exchange.proper_head(ETag=None, Last_Modified=None)
    _send_cut(exchange, cut)


@_fault
def dated(exchange: Exchange) -> None:
    """Serve with a Last-Modified but no ETag."""
    cut = _cut(exchange)
    exchange.proper_head(ETag=None)
    _send_cut(exchange, cut)


@_fault
def no_ranges(exchange: Exchange) -> None:
    """Ignore every range."""
    exchange.whole()
    cut = _cut(exchange)
    exchange.proper_head(Accept_Ranges=None)
    _send_cut(exchange, cut)


@_fault
def truncated(exchange: Exchange) -> None:
    """Close each answer after so many bytes (``cuts``, the last one for ever)."""
    cut = _cut(exchange)
    exchange.proper_head()
    _send_cut(exchange, cut)


@_fault
def resetting(exchange: Exchange) -> None:
    """Reset the connection half way, the first time."""
    exchange.proper_head()
    data = exchange.data()
    exchange.send(data if exchange.time else data[: len(data) // 2])
    if exchange.time == 0:
        exchange.reset()


@_fault
def short_ranges(exchange: Exchange) -> None:
    """Answer any range with at most ``most`` bytes, as RFC 9110 lets a server do."""
    if exchange.asked.range is None:
        truncated(exchange)
    start, end = exchange.span
    exchange._range = (start, min(end, start + exchange.file.options["most"]))
    none(exchange)


@_fault
def chunked(exchange: Exchange) -> None:
    """Serve it without a length, properly chunked."""
    exchange.proper_head(Content_Length=None, Transfer_Encoding="chunked")
    exchange.chunk(exchange.data())
    exchange.connection.sendall(b"0\r\n\r\n")


@_fault
def chunked_truncated(exchange: Exchange) -> None:
    """Close a chunked answer half way, the first ``times`` times: once, if that is not said."""
    exchange.proper_head(Content_Length=None, Transfer_Encoding="chunked")
    data = exchange.data()
    cut = exchange.time < exchange.file.options.get("times", 1)
    exchange.chunk(data[: len(data) // 2] if cut else data)
    if cut:
        raise Closed
    exchange.connection.sendall(b"0\r\n\r\n")


@_fault
def endless_chunked(exchange: Exchange) -> None:
    """Never stop sending."""
    exchange.whole()
    exchange.proper_head(Content_Length=None, Transfer_Encoding="chunked")
    while not exchange.server.released.is_set():
        exchange.chunk(b"\xaa" * STEP)
    raise Closed


@_fault
def bad_chunks(exchange: Exchange) -> None:
    """Break the chunked framing."""
    exchange.proper_head(Content_Length=None, Transfer_Encoding="chunked")
    exchange.chunk(exchange.data()[:100])
    exchange.connection.sendall(b"not a size\r\n")
    raise Closed


@_fault
def no_length(exchange: Exchange) -> None:
    """Mark the end by closing, as in the nineties."""
    exchange.whole()
    exchange.proper_head(Content_Length=None, Connection="close")
    exchange.send(exchange.data())
    raise Closed


@_fault
def huge_length(exchange: Exchange) -> None:
    """Announce ``length`` bytes, send a thousand and close."""
    exchange.whole()
    exchange.proper_head(Content_Length=exchange.file.options.get("length", 10 * 1000**3))
    exchange.send(b"\xaa" * 1000)
    raise Closed


@_fault
def html(exchange: Exchange) -> None:
    """Answer a page with status 200, labelled as one."""
    exchange.head(200, Content_Type="text/html; charset=utf-8", Content_Length=len(PAGE))
    exchange.send(PAGE)


@_fault
def html_unlabelled(exchange: Exchange) -> None:
    """Answer a page with status 200, labelled as a file."""
    exchange.head(200, Content_Type="application/zip", Content_Length=len(PAGE))
    exchange.send(PAGE)


@_fault
def compressed(exchange: Exchange) -> None:
    """Say that the body is compressed."""
    exchange.proper_head(Content_Encoding="gzip")
    exchange.send(exchange.data())


@_fault
def wrong_range(exchange: Exchange) -> None:
    """Cut the first answer; to a range, send another one."""
    if exchange.asked.range is None:
        truncated(exchange)
    start, end = exchange.span
    whole = len(exchange.file.body)
    exchange.proper_head(Content_Range=f"bytes {start + 1}-{end - 1}/{whole}")
    exchange.send(exchange.data())


@_fault
def unasked_range(exchange: Exchange) -> None:
    """Answer 206 although no range was asked for."""
    whole = len(exchange.file.body)
    exchange.head(206, Content_Range=f"bytes 0-{whole - 1}/{whole}", Content_Length=whole)
    exchange.send(exchange.file.body)


@_fault
def other_total(exchange: Exchange) -> None:
    """Cut the first answer; to a range, answer for a file of another size."""
    if exchange.asked.range is None:
        truncated(exchange)
    start, end = exchange.span
    exchange.proper_head(Content_Range=f"bytes {start}-{end - 1}/{len(exchange.file.body) + 7}")
    exchange.send(exchange.data())


@_fault
def changing(exchange: Exchange) -> None:
    """Be another file, with another ETag, at each request; cut all before the one ``settles``."""
    _change(exchange)


@_fault
def splicing(exchange: Exchange) -> None:
    """Likewise, and serve ranges of whatever the file is now, ignoring If-Range."""
    exchange.asked.headers.pop("if-range", None)
    _change(exchange)


def _change(exchange: Exchange) -> None:
    exchange.file.etag = f'"state-{exchange.time}"'
    exchange._range = exchange._wanted()
    exchange.proper_head()
    data = exchange.data()
    if exchange.time >= exchange.file.options.get("settles", 1 << 30):
        exchange.send(data)
        return
    exchange.send(bytes([exchange.time]) * (len(data) // 2))
    raise Closed


@_fault
def wrong_bytes(exchange: Exchange) -> None:
    """Serve as many bytes, one of them wrong."""
    exchange.proper_head()
    data = bytearray(exchange.data())
    data[len(data) // 2] ^= 0xFF
    exchange.send(bytes(data))


@_fault
def stalling(exchange: Exchange) -> None:
    """Send half of it and then nothing, with the connection open."""
    exchange.proper_head()
    data = exchange.data()
    exchange.send(data[: exchange.file.options.get("after", len(data) // 2)])
    exchange.server.held.set()
    exchange.hold()


@_fault
def trickling(exchange: Exchange) -> None:
    """Send a byte now and then, never long enough apart to be called silent."""
    exchange.proper_head()
    for byte in exchange.data():
        exchange.send(bytes([byte]))
        if exchange.server.released.wait(0.05):
            break
    raise Closed


@_fault
def silent(exchange: Exchange) -> None:
    """Take the request and never answer."""
    exchange.server.held.set()
    exchange.hold()


@_fault
def garbage(exchange: Exchange) -> None:
    """Speak something that is not HTTP."""
    exchange.connection.sendall(b"220 ftp.example ready\r\n")
    raise Closed


@_fault
def status(exchange: Exchange) -> None:
    """Answer ``code`` with ``headers`` the first ``times`` times, and properly from then on."""
    options = exchange.file.options
    if exchange.time >= options.get("times", 1 << 30):
        none(exchange)
        return
    exchange.head(options["code"], Content_Length=0, **options.get("headers", {}))


@_fault
def redirect(exchange: Exchange) -> None:
    """Redirect to ``location``; without one, to itself."""
    location = exchange.file.options.get("location") or exchange.server.url(exchange.asked.path)
    exchange.head(302, Location=location, Content_Length=0)


@_fault
def meeting(exchange: Exchange) -> None:
    """Answer only once ``many`` requests are under way at the same time."""
    server, many = exchange.server, exchange.file.options["many"]
    with server.changed:
        met = server.changed.wait_for(lambda: server.peak >= many, timeout=PATIENCE)
    if not met:
        raise Closed
    none(exchange)


def _cut(exchange: Exchange) -> int | None:
    """Where this answer is cut; None: it is not."""
    cuts: tuple[int | None, ...] = exchange.file.options.get("cuts", (None,))
    return cuts[min(exchange.time, len(cuts) - 1)]


def _send_cut(exchange: Exchange, cut: int | None) -> None:
    data = exchange.data()
    if cut is None or cut >= len(data):
        exchange.send(data)
        return
    exchange.send(data[:cut])
    raise Closed
