"""Outcomes on disk: many processes, shared blobs, damage, and a centre with moods."""

import hashlib
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from fleet.cli import node
from fleet.messages import BlobRef, ItemResult, Outcome, Verdict
from fleet.settings import SiteSettings
from workers.centre import Centre, CentreAway, CentreFailed, CentreRefused
from workers.spool import Spool

PATIENCE = 20.0
PIECES = b"pieces"
NAME = hashlib.sha256(PIECES).hexdigest()
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
TAKEN = Verdict(applied=True, reason="taken").model_dump_json()
PAGE = "<html>Sorry</html>"


class Answer(NamedTuple):
    status: int
    body: str = ""


class Moody:
    """An HTTP server in the centre's place: ``moods`` say how it answers to part of a path."""

    def __init__(self) -> None:
        self.moods: dict[str, Answer] = {}
        self.asked: list[str] = []
        self.tokens: set[str] = set()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        moody = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _answer(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                status, body = moody.answer(self.path, self.headers["Authorization"])
                if not status:
                    self.close_connection = True
                    return
                self.send_response(status)
                if status != 204:
                    self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body.encode())

            do_PUT = do_POST = _answer  # noqa: N815 - http.server's names

            def log_message(self, *_: Any) -> None:
                pass

        return Handler

    def answer(self, path: str, token: str) -> Answer:
        self.asked.append(path.removeprefix("/api/v1/worker/"))
        self.tokens.add(token)
        for part, answer in self.moods.items():
            if part in path:
                return answer
        return Answer(204) if "/blobs/" in path else Answer(200, TAKEN)

    @property
    def reported(self) -> list[str]:
        """The attempts that were reported, whatever was the answer."""
        return [path.split("/")[1] for path in self.asked if path.endswith("/report")]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def moody() -> Iterator[Moody]:
    made = Moody()
    yield made
    made.close()


@pytest.fixture
def settings(moody: Moody, tmp_path: Path) -> SiteSettings:
    return SiteSettings(
        site="toronto", site_token=SecretStr("t"), centre_url=moody.url, home=tmp_path
    )


@pytest.fixture
def centre(settings: SiteSettings) -> Iterator[Centre]:
    with Centre(settings) as made:
        yield made


@pytest.fixture
def spool(settings: SiteSettings) -> Spool:
    return Spool(settings.state / "spool")


def outcome(attempt: str, blob: str | None = NAME) -> Outcome:
    pieces = BlobRef(sha256=blob, size=len(PIECES)) if blob else None
    return Outcome(
        attempt=attempt, fence=1, site="toronto", started_at=NOON, ended_at=NOON, pieces=pieces
    )


def put(spool: Spool, *attempts: str) -> None:
    for attempt in attempts:
        spool.put(outcome(attempt), {NAME: PIECES})


def waiting(spool: Spool) -> list[str]:
    """What is in the spool, its locks and what was set aside apart; it may be emptied meanwhile."""
    paths = (Path(folder, name) for folder, _, names in os.walk(spool.folder) for name in names)
    shown = (path.relative_to(spool.folder) for path in paths if not path.name.startswith("."))
    return sorted(str(path) for path in shown if path.parts[0] != "refused")


def reason(spool: Spool, attempt: str) -> str:
    note = json.loads((spool.folder / "refused" / f"{attempt}.reason").read_text())
    assert note["attempt"] == attempt
    return str(note["reason"])


def until(condition: Callable[[], Any]) -> None:
    never, deadline = threading.Event(), time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        never.wait(0.005)


def test_every_blob_that_an_outcome_names_is_sent_before_it(
    moody: Moody, spool: Spool, centre: Centre
) -> None:
    blobs = {hashlib.sha256(data).hexdigest(): data for data in (b"pieces", b"layer", b"parts")}
    pieces, layer, parts = (BlobRef(sha256=one, size=len(data)) for one, data in blobs.items())
    item = ItemResult(artifact="a", ok=True, pieces=pieces, layer=layer, parts=parts)
    spool.put(outcome("at-1", None).model_copy(update={"items": (item,)}), blobs)
    assert spool.flush(centre) == 1
    assert sorted(moody.asked[:-1]) == sorted(f"blobs/{one}" for one in blobs)
    assert moody.asked[-1] == "attempts/at-1/report"


def test_outcomes_that_name_the_same_blob_are_all_sent(
    spool: Spool, centre: Centre, moody: Moody
) -> None:
    put(spool, "at-1", "at-2", "at-3")
    assert spool.flush(centre) == 3
    assert moody.asked == [
        f"blobs/{NAME}" if kind == "blob" else f"attempts/{attempt}/report"
        for attempt in ("at-1", "at-2", "at-3")
        for kind in ("blob", "report")
    ]
    assert waiting(spool) == []
    assert not list(spool.folder.glob("*.blobs"))


_WORKER = """
import sys
from pathlib import Path
from pydantic import SecretStr
from fleet.settings import SiteSettings
from tests.test_spool import put
from workers.centre import Centre
from workers.spool import Spool
name, url, home = sys.argv[1:]
settings = SiteSettings(site="toronto", site_token=SecretStr("t"), centre_url=url, home=Path(home))
spool = Spool(settings.state / "spool")
with Centre(settings) as centre:
    for number in range(20):
        put(spool, f"at-{name}-{number}")
        spool.flush(centre)
"""


def test_processes_that_put_and_flush_at_once_lose_nothing_and_send_nothing_twice(
    spool: Spool, centre: Centre, moody: Moody, tmp_path: Path
) -> None:
    names = ("a", "b", "c")
    workers = [
        subprocess.Popen([sys.executable, "-c", _WORKER, name, moody.url, str(tmp_path)])
        for name in names
    ]
    try:
        assert [worker.wait(PATIENCE) for worker in workers] == [0, 0, 0]
    finally:
        for worker in workers:
            worker.kill()
    spool.flush(centre)
    wanted = sorted(f"at-{name}-{number}" for name in names for number in range(20))
    assert sorted(moody.reported) == wanted
    assert waiting(spool) == []
    assert not (spool.folder / "refused").exists()


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (lambda folder: (folder / "at-1.json").write_text('{"attempt": "at-'), "Invalid JSON"),
        (lambda folder: (folder / "at-1.json").write_bytes(b"\xff\0"), "cannot be read"),
        (lambda folder: (folder / "at-1.blobs" / NAME).unlink(), NAME),
    ],
)
def test_an_outcome_that_cannot_be_read_is_set_aside_with_its_reason_and_stops_no_other(
    spool: Spool, centre: Centre, moody: Moody, damage: Callable[[Path], Any], why: str
) -> None:
    put(spool, "at-1", "at-2")
    damage(spool.folder)
    assert spool.flush(centre) == 1
    assert moody.reported == ["at-2"]
    assert waiting(spool) == []
    assert why in reason(spool, "at-1")
    assert (spool.folder / "refused" / "at-1.json").exists()


def test_an_outcome_that_the_centre_refuses_is_set_aside_with_its_blobs(
    spool: Spool, centre: Centre, moody: Moody
) -> None:
    moody.moods["at-1/report"] = Answer(409, '{"detail": "not yours"}')
    for _ in range(2):  # the second takes the place of the first
        put(spool, "at-1")
        assert spool.flush(centre) == 0
    assert waiting(spool) == []
    assert reason(spool, "at-1") == '409: {"detail": "not yours"}'
    assert (spool.folder / "refused" / "at-1.blobs" / NAME).read_bytes() == PIECES


def test_an_outcome_that_fails_at_the_centre_waits_and_blocks_none_behind_it(
    spool: Spool, centre: Centre, moody: Moody
) -> None:
    put(spool, "at-1", "at-2", "at-3")
    moody.moods["at-1/report"] = Answer(500, PAGE)
    assert spool.flush(centre) == 2
    assert waiting(spool) == [f"at-1.blobs/{NAME}", "at-1.json"]
    with pytest.raises(CentreFailed, match=r"answered 500 to POST .*at-1/report"):
        spool.flush(centre)
    moody.moods.clear()
    assert spool.flush(centre) == 1
    assert waiting(spool) == []


def test_when_nobody_answers_it_stops_at_once_and_begins_with_another_the_next_time(
    spool: Spool, centre: Centre, moody: Moody
) -> None:
    put(spool, "at-1", "at-2", "at-3")
    moody.moods["at-1/report"] = Answer(0)
    with pytest.raises(CentreAway, match=moody.url):
        spool.flush(centre)
    assert moody.reported == ["at-1"]
    with pytest.raises(CentreAway):
        spool.flush(centre)
    assert moody.reported == ["at-1", "at-2", "at-3", "at-1"]
    assert waiting(spool) == [f"at-1.blobs/{NAME}", "at-1.json"]


def test_what_a_process_left_that_died_while_it_put_is_removed(
    spool: Spool, centre: Centre
) -> None:
    put(spool, "at-1")
    (spool.folder / "at-1.json").replace(spool.folder / ".at-1.json.new")
    assert spool.flush(centre) == 0
    assert waiting(spool) == []
    put(spool, "at-1")
    assert spool.flush(centre) == 1


@pytest.mark.parametrize("status", [404, 409, 413, 422])
def test_only_the_centre_s_own_word_refuses(centre: Centre, moody: Moody, status: int) -> None:
    moody.moods["/"] = Answer(status, '{"detail": "no such thing"}')
    with pytest.raises(CentreRefused, match=f"{status}: .*no such thing"):
        centre.report(outcome("at-1"))
    for page in (PAGE, "", "[]", '"detail"', '{"error": "no"}'):
        moody.moods["/"] = Answer(status, page)
        with pytest.raises(CentreFailed, match=f"answered {status}"):
            centre.report(outcome("at-1"))


@pytest.mark.parametrize("status", [302, 400, 401, 403, 405, 408, 425, 429, 500, 502, 503, 504])
@pytest.mark.parametrize("body", [PAGE, '{"detail": "no"}'])
def test_every_other_answer_means_later(
    spool: Spool, centre: Centre, moody: Moody, status: int, body: str
) -> None:
    put(spool, "at-1")
    moody.moods["/"] = Answer(status, body)
    with pytest.raises(CentreAway, match=f"answered {status}"):
        spool.flush(centre)
    assert waiting(spool) == [f"at-1.blobs/{NAME}", "at-1.json"]


@pytest.mark.parametrize("body", [PAGE, "", "{}"])
def test_a_page_in_the_place_of_a_verdict_means_later(
    spool: Spool, centre: Centre, moody: Moody, body: str
) -> None:
    put(spool, "at-1")
    moody.moods["/"] = Answer(200, body)
    with pytest.raises(CentreAway, match="something else than a Verdict"):
        spool.flush(centre)
    assert "at-1.json" in waiting(spool)


@pytest.mark.parametrize("status", [401, 403])
def test_a_site_that_is_not_known_reads_what_to_do_and_asks_but_once(
    spool: Spool, centre: Centre, moody: Moody, status: int
) -> None:
    put(spool, "at-1", "at-2")
    moody.moods["/"] = Answer(status, '{"detail": "this token belongs to no active site"}')
    with pytest.raises(CentreAway, match=re.escape("run `fleet site token toronto`")):
        spool.flush(centre)
    assert len(moody.asked) == 1


def test_a_new_token_is_used_at_once_and_a_missing_one_means_later(
    settings: SiteSettings, moody: Moody, tmp_path: Path
) -> None:
    file = tmp_path / "token"
    changes = {"site_token": SecretStr(""), "site_token_file": file}
    with Centre(settings.model_copy(update=changes)) as centre:
        with pytest.raises(CentreAway, match=re.escape(str(file))):
            centre.report(outcome("at-1"))
        for token in ("old", "new"):
            file.write_text(token)
            centre.report(outcome("at-1"))
    assert moody.tokens == {"Bearer old", "Bearer new"}


def test_the_sender_survives_all_this_and_names_each_trouble_once(
    spool: Spool, settings: SiteSettings, moody: Moody, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node, "_FLUSH_SECONDS", 0.005)
    stop = threading.Event()
    sender = threading.Thread(target=node._send_spooled, args=(settings, stop))
    settings.state.mkdir(parents=True)
    spool.folder.write_text("in the way")
    with capture_logs() as logs:
        sender.start()
        try:
            until(lambda: len(logs) == 1)
            spool.folder.unlink()
            moody.moods["/"] = Answer(403, PAGE)
            put(spool, "at-1")
            until(lambda: len(moody.asked) > 5)
            assert sender.is_alive()
            moody.moods.clear()
            until(lambda: waiting(spool) == [])
        finally:
            stop.set()
            sender.join(PATIENCE)
    assert [log["event"] for log in logs] == ["outcomes wait on disk"] * 2 + ["reported"]
    assert "File exists" in logs[0]["reason"] or "Not a directory" in logs[0]["reason"]
    assert "403" in logs[1]["reason"]
