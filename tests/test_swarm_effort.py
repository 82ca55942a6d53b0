"""What drives a seeder does not trust it: silence, nonsense and its end are reasons."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fleet.messages import Budget
from fleet.settings import SiteSettings
from tests.seeder_support import TOKEN
from workers.lease import Lease, Stopped
from workers.seeder import effort
from workers.seeder.control import bind, socket_path
from workers.seeder.effort import Effort, Progress, SeederError
from workers.swarm import Swarm

SWARM = Swarm("a" * 40, ("host.example:6881",))
Answers = Callable[[socket.socket], None]


@pytest.fixture
def settings(tmp_path: Path) -> SiteSettings:
    made = SiteSettings(home=tmp_path, site="here", site_token=TOKEN, stall_seconds=0.5)
    made.state.mkdir(parents=True)
    return made


@contextmanager
def seeder(settings: SiteSettings, answers: Answers) -> Iterator[list[bytes]]:
    """Whoever answers at the seeder's socket, once; gives what it was asked."""
    asked: list[bytes] = []
    with bind(socket_path(settings)) as listener:

        def serve() -> None:
            link, _ = listener.accept()
            with link:
                asked.append(link.recv(1 << 16))
                answers(link)

        thread = threading.Thread(target=serve)
        thread.start()
        yield asked
        thread.join()


def sends(*lines: bytes) -> Answers:
    return lambda link: link.sendall(b"".join(lines))


class Lasting(Lease):
    """A lease that ends after so many seconds."""

    def __init__(self, budget: Budget | None = None, *, seconds: float) -> None:
        super().__init__(budget or Budget())
        self._ends = time.monotonic() + seconds

    def check(self) -> None:
        if time.monotonic() > self._ends:
            raise Stopped("it lasted too long")


def run(settings: SiteSettings, lease: Lease | None = None) -> tuple[Progress, list[Progress]]:
    told: list[Progress] = []
    with Effort(settings, lease or Lease(), "fetch", SWARM, [(0, 5)]) as asked:
        return asked.run(told.append), told


def test_what_is_asked_is_one_line_and_progress_comes_as_it_is_sent(
    settings: SiteSettings,
) -> None:
    lines = [
        b'{"ok": true, "state": "fetching", "done": 1, "size": 5, "payl',
        b'oad": 1, "later": "is ignored"}\n{"ok": true, "state": "done", "done": 5}\n',
    ]
    with seeder(settings, sends(*lines)) as asked:
        last, told = run(settings, Lease(Budget(bytes_per_second=7)))
    assert (last.state, last.done) == ("done", 5)
    assert [one.payload for one in told] == [1, 0]
    assert json.loads(asked[0]) == {
        "do": "fetch",
        "infohash": "a" * 40,
        "peers": ["host.example:6881"],
        "want": [[0, 5]],
        "ws": [],
        "web_seeds": True,
        "limit": 7,
        "paused": False,
    }


@pytest.mark.parametrize(
    ("sent", "why"),
    [
        (b"", "it ended meanwhile"),
        (b"nonsense\n", "malformed"),
        (b"[]\n", "malformed"),
        (b"[" * 60_000 + b"\n", "malformed"),
        (b'{"ok": true}\n', "malformed"),
        (b'{"ok": true, "state": "gone"}\n', "malformed"),
        (b'{"ok": true, "state": "fetching", "payload": -1}\n', "malformed"),
        (b'{"ok": true, "state": "fetching", "web": [5]}\n', "malformed"),
        (b'{"ok": false, "error": "no torrent"}\n', "no torrent"),
        (b'{"ok": false, "error": "' + b"x" * 5000 + b'"}\n', "x" * 500),
        (b"x" * 200_000, "a line without end"),
    ],
)
def test_what_cannot_be_used_is_a_reason(sent: bytes, why: str, settings: SiteSettings) -> None:
    with seeder(settings, sends(sent)), pytest.raises(SeederError, match=why) as caught:
        run(settings)
    assert len(str(caught.value)) < 600


def holds(line: bytes) -> Answers:
    """Send a line again and again until the client goes."""

    def answers(link: socket.socket) -> None:
        link.settimeout(0.05)
        while True:
            try:
                link.sendall(line)
                if not link.recv(1 << 16):
                    return
            except TimeoutError:
                continue

    return answers


def test_no_byte_for_too_long_is_a_stall_that_names_the_web_seeds(settings: SiteSettings) -> None:
    web = [{"url": "http://a.example/x", "error": "503 Busy"}]
    line = json.dumps({"ok": True, "state": "fetching", "peers": 2, "web": web}).encode() + b"\n"
    with seeder(settings, holds(line)), pytest.raises(SeederError) as caught:
        run(settings)
    assert str(caught.value) == (
        "no byte came for 0.5 s, peers connected: 2; http://a.example/x failed: 503 Busy"
    )


def climbs(step: int, top: int) -> Answers:
    """Tell of more and more bytes up to ``top``, then of none: they were wrong."""

    def answers(link: socket.socket) -> None:
        link.settimeout(0.02)
        payload = 0
        while True:
            payload += step
            said = {"ok": True, "state": "fetching", "payload": payload, "done": payload % top}
            try:
                link.sendall(json.dumps(said).encode() + b"\n")
                if not link.recv(1 << 16):
                    return
            except TimeoutError:
                continue

    return answers


@pytest.mark.parametrize(
    ("step", "top"),
    [(10, 1 << 40), (10_000, 40_000)],
    ids=["a trickle", "bytes that are thrown away"],
)
def test_too_little_over_a_few_stall_times_ends_it(
    step: int, top: int, settings: SiteSettings
) -> None:
    began = time.monotonic()
    with (
        seeder(settings, climbs(step, top)),
        pytest.raises(SeederError, match=r"only [0-9]+ bytes came in 2\.?[0-9]* s"),
    ):
        run(settings, Lasting(seconds=10))
    assert time.monotonic() - began >= effort.FEW_STALLS * settings.stall_seconds


@pytest.mark.parametrize("lease", [Budget(bytes_per_second=500), Budget(bytes_per_second=0)])
def test_what_is_slow_because_the_budget_is_goes_on(lease: Budget, settings: SiteSettings) -> None:
    with seeder(settings, climbs(10, 1 << 40)), pytest.raises(Stopped):
        run(settings, Lasting(lease, seconds=4))


def test_bytes_that_payload_alone_tells_of_are_no_progress(settings: SiteSettings) -> None:
    with seeder(settings, climbs(1, 1)), pytest.raises(SeederError, match="no byte came"):
        run(settings, Lasting(seconds=10))


def test_a_seeder_that_says_nothing_is_left(
    settings: SiteSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(effort, "SILENCE_SECONDS", 0.1)
    monkeypatch.setattr(effort, "LISTEN_SECONDS", 0.05)
    with (
        seeder(settings, lambda link: link.recv(1)),
        pytest.raises(SeederError, match="says nothing"),
    ):
        run(settings)


def test_a_lease_that_ends_ends_it(settings: SiteSettings) -> None:
    class Ended(Lease):
        def check(self) -> None:
            raise Stopped("enough")

    line = b'{"ok": true, "state": "fetching"}\n'
    with seeder(settings, holds(line)), pytest.raises(Stopped):
        run(settings, Ended())


def test_without_a_seeder_the_reason_names_the_site(settings: SiteSettings) -> None:
    with pytest.raises(SeederError, match="the seeder of here does not answer"):
        run(settings)
