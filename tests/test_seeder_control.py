"""How a seeder starts, answers on its socket, and ends."""

import json
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet.settings import SiteSettings
from tests.seeder_support import PIECE, TOKEN, Centre, Process, Shard, running, site
from workers.seeder.client import nudge, status
from workers.seeder.control import socket_path


@pytest.fixture
def told() -> Iterator[Centre]:
    """The centre that the seeder is told of."""
    centre = Centre()
    yield centre
    centre.close()


def refusal(settings: SiteSettings, centre: Centre, **more: str) -> str:
    """Start a seeder that cannot start, and return its reason."""
    process = Process(settings, centre.url, **more)
    try:
        reason: str = process.event("cannot start")["reason"]
        assert process.ended() == 1
    finally:
        process.end(signal.SIGKILL)
    assert process.noise == []
    return reason


def test_status_tells_ports_and_torrents(tmp_path: Path, told: Centre) -> None:
    settings = site(tmp_path)
    shard = Shard("ds", {"a": PIECE})
    shard.put(settings.store_root)
    told.want(shard)
    with running(settings, told.url) as seeder:
        seeder.sync()
        told_status = status(settings)
        ready = seeder.ready()
    assert told_status["bittorrent"] == ready["bittorrent"] > 0
    assert told_status["door"] == ready["door"] > 0
    assert (told_status["ok"], told_status["site"], told_status["centre"]) == (True, "s1", "")
    assert told_status["torrents"] == [
        {
            "infohash": shard.infohash,
            "name": "a",
            "shard": "shard-of-ds",
            "size": PIECE,
            "state": "seeding",
            "error": "",
            "peers": 0,
            "complete": 0,
            "availability": 1,
            "uploaded": 0,
        }
    ]


def test_without_a_door_there_is_none(tmp_path: Path, told: Centre) -> None:
    with running(site(tmp_path), told.url, FLEET_DOOR="") as seeder:
        assert seeder.ready()["door"] is None
        assert seeder.end() == 0


def test_only_its_own_user_may_ask_and_nonsense_is_answered(tmp_path: Path, told: Centre) -> None:
    settings = site(tmp_path)
    with running(settings, told.url) as seeder:
        path = socket_path(settings)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        for line in (b"\n", b"nonsense\n", b"[1]\n", b'{"do": "rm"}\n', b"[" * 60_000 + b"\n"):
            with socket.socket(socket.AF_UNIX) as link:
                link.settimeout(10)
                link.connect(str(path))
                link.sendall(line)
                answer = json.loads(link.makefile("rb").readline())
            assert answer["ok"] is False
            assert '{"do": "sync"}' in answer["error"]
        with socket.socket(socket.AF_UNIX) as link:
            link.settimeout(10)
            link.connect(str(path))
            link.sendall(b'{"do": "status"}\n{"do": "sync"}\n')
            lines = link.makefile("rb")
            assert json.loads(lines.readline())["site"] == "s1"
            assert json.loads(lines.readline()) == {"ok": True, "seeding": 0}
        assert seeder.sync()["ok"]


def test_it_ends_cleanly_on_sigterm_and_sigint(tmp_path: Path, told: Centre) -> None:
    settings = site(tmp_path)
    for number in (signal.SIGTERM, signal.SIGINT):
        with running(settings, told.url) as seeder, socket.socket(socket.AF_UNIX) as idle:
            idle.connect(str(socket_path(settings)))
            assert seeder.sync()["ok"]
            assert seeder.end(number) == 0
            assert [line["event"] for line in seeder.log][-1] == "stopped"
            assert seeder.noise == []
            assert not socket_path(settings).exists()


def test_a_nudge_without_a_seeder_is_answered(tmp_path: Path) -> None:
    answer = nudge(site(tmp_path))
    assert answer["ok"] is False
    assert "the seeder of s1 does not answer" in answer["error"]


def test_a_second_seeder_of_a_site_is_refused(tmp_path: Path, told: Centre) -> None:
    settings = site(tmp_path)
    with running(settings, told.url) as seeder:
        assert "another seeder is running" in refusal(settings, told)
        assert seeder.sync()["ok"]


def test_a_taken_port_is_named(tmp_path: Path, told: Centre) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        reason = refusal(site(tmp_path), told, FLEET_BITTORRENT=address)
        assert address in reason
        assert "in use" in reason
        reason = refusal(site(tmp_path), told, FLEET_DOOR=address)
        assert "in use" in reason


@pytest.mark.parametrize(
    ("setting", "value", "why"),
    [
        ("FLEET_DOOR", "8080", "no address for the door"),
        ("FLEET_DOOR", "127.0.0.1:http", "no address for the door"),
        ("FLEET_BITTORRENT", "nowhere", "cannot listen on 'nowhere'"),
        ("FLEET_SITE_TOKEN", "", "no token"),
        ("FLEET_HOME", "/tmp/" + "x" * 100, "set FLEET_HOME to a shorter one"),
    ],
)
def test_a_setting_that_cannot_be_is_named(
    tmp_path: Path, told: Centre, setting: str, value: str, why: str
) -> None:
    if setting == "FLEET_HOME":
        value = str(tmp_path / ("x" * 100))
    assert why in refusal(site(tmp_path), told, **{setting: value})


def test_a_socket_path_that_is_too_long_is_named_to_whoever_asks(tmp_path: Path) -> None:
    settings = SiteSettings(home=tmp_path / ("x" * 100), site="s1", site_token=TOKEN)
    with pytest.raises(ValueError, match="the system allows 107"):
        socket_path(settings)
    assert "the system allows 107" in nudge(settings)["error"]


def test_nothing_heavy_is_imported() -> None:
    heavy = {"celery", "fastapi", "jinja2", "pyarrow", "sqlalchemy", "starlette", "typer"}
    code = "import sys, workers.seeder.daemon; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert not heavy & set(done.stdout.split())
