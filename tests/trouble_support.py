"""What the stories of troubled pulls share: lies, leftovers of earlier attempts, patience."""

import time
from collections.abc import Callable, Sequence

from tests.fault_exchange import Exchange
from tests.fault_server import FaultServer
from tests.pull_support import Site, noise
from workers.lease import Lease, Stopped
from workers.pull.extents import GRANULE
from workers.pull.journal import Author, Head, boot_id
from workers.work import Work

NAME = "census.zip"
OTHER = "other.zip"
BODY = noise(8 * GRANULE)
LIE = bytes(byte ^ 1 for byte in BODY)
SMALL = noise(5000, seed=2)
GONE = "http://gone.invalid/census.zip"  # a source of an earlier attempt
PATIENCE = 5.0


class Patience(Lease):
    """A lease that ends once these servers were asked too often, lest a test go on for ever."""

    def __init__(self, servers: Sequence[FaultServer], most: int = 60) -> None:
        super().__init__()
        self._servers = servers
        self._most = most

    def check(self) -> None:
        if sum(len(server.requests) for server in self._servers) > self._most:
            raise Stopped("asked too often")


def leave(site: Site, body: bytes, marks: bytes, *urls: str) -> None:
    """Leave what an earlier attempt left: the granules that ``marks`` gives to these authors."""
    data = site.storage.staging(NAME)
    data.write_bytes(body)
    data.with_suffix(".map").write_bytes(marks)
    authors = tuple(Author(url=url) for url in urls)
    head = Head(boot=boot_id(), granule=GRANULE, size=len(BODY), authors=authors)
    data.with_suffix(".json").write_text(head.model_dump_json())


def leave_disputed(site: Site, *urls: str, marks: bytes = b"\1\1\1\1\2\2\2\2") -> None:
    """Leave a whole file of which author 2 lies: a pull begins with a cross-examination."""
    said = [LIE if mark == 2 else BODY for mark in marks]
    body = b"".join(one[at * GRANULE : (at + 1) * GRANULE] for at, one in enumerate(said))
    leave(site, body, marks, *urls)


def assert_right(site: Site, work: Work) -> None:
    assert work.items[0].ok, work.items[0].reason
    assert site.file(NAME).read_bytes() == BODY
    assert site.staged() == []


def blamed(work: Work) -> dict[str, str]:
    """Hosts with faults, and what they are blamed for."""
    return {one.host: one.last_error for one in work.sources if one.errors}


def hangs_up(exchange: Exchange, until: Callable[[], object], seconds: float = PATIENCE) -> bool:
    """Wait until the client closes the connection (True), or for something else (False)."""
    exchange.connection.settimeout(0.02)
    deadline = time.monotonic() + seconds
    while not until() and time.monotonic() < deadline:
        try:
            if exchange.connection.recv(1) == b"":
                return True
        except TimeoutError:
            continue
        except OSError:
            return True
    exchange.connection.settimeout(PATIENCE)
    return False
