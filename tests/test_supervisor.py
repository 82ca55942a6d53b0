import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.cli.keeper import Keeper, alive
from fleet.cli.process import spawn
from fleet.cli.supervisor import Program, Status, Supervisor, next_delay

STUBBORN = "trap '' TERM; while :; do sleep 0.05; done"
PROMPT = "trap 'exit 0' TERM; while :; do sleep 0.02; done"


def until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def shell(
    folder: Path,
    name: str,
    script: str,
    *,
    ready: Callable[[], bool] | None = None,
    after: tuple[str, ...] = (),
) -> Program:
    return Program(
        name=name,
        argv=("sh", "-c", script),
        env={"PATH": os.environ["PATH"], "HERE": str(folder), "NAME": name},
        log=folder / "logs" / f"{name}.log",
        ready=ready,
        after=after,
    )


@contextmanager
def supervised(
    programs: Sequence[Program], *, grace: float = 5.0
) -> Iterator[tuple[Supervisor, list[str]]]:
    events: list[str] = []
    supervisor = Supervisor(programs, on_event=events.append, grace=grace)
    try:
        supervisor.start()
        yield supervisor, events
    finally:
        supervisor.stop()


def steps_until(supervisor: Supervisor, condition: Callable[[], object]) -> None:
    def stepped() -> object:
        supervisor.step()
        return condition()

    until(stepped)


def one(supervisor: Supervisor, name: str) -> Status:
    return next(status for status in supervisor.status() if status.name == name)


def pids(path: Path) -> list[int]:
    return [int(word) for word in path.read_text().split()] if path.exists() else []


def test_programs_start_once_those_they_come_after_are_ready(tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    programs = [
        shell(tmp_path, "worker", PROMPT, after=("broker",)),
        shell(tmp_path, "broker", PROMPT, ready=flag.exists),
    ]
    with supervised(programs) as (supervisor, events):
        for _ in range(5):
            supervisor.step()
        assert one(supervisor, "broker").state == "starting"
        assert one(supervisor, "broker").pid is not None
        assert one(supervisor, "worker").pid is None
        flag.touch()
        steps_until(supervisor, lambda: one(supervisor, "worker").state == "ready")
        assert events == ["broker: ready", "worker: ready"]


def test_what_dies_is_started_again_without_its_left_overs(tmp_path: Path) -> None:
    script = 'sleep 1000 & echo $! >>"$HERE/sleepers"; exit 7'
    with supervised([shell(tmp_path, "pool", script)]) as (supervisor, events):
        steps_until(supervisor, lambda: one(supervisor, "pool").restarts >= 2)
        first, second = pids(tmp_path / "sleepers")[:2]
        assert not alive(first)
        until(lambda: not alive(second))
        assert "exited with code 7" in one(supervisor, "pool").last_exit
        told = [event for event in events if "starting again" in event]
        assert told[0].endswith("starting again in 0.2 s")
        assert told[1].endswith("starting again in 0.4 s")
    assert not any(alive(pid) for pid in pids(tmp_path / "sleepers"))
    assert one(supervisor, "pool").state == "stopped"


def test_a_program_killed_from_outside_comes_back_with_another_pid(tmp_path: Path) -> None:
    with supervised([shell(tmp_path, "worker", PROMPT)]) as (supervisor, _):
        before = one(supervisor, "worker")
        assert before.pid is not None
        os.kill(before.pid, signal.SIGKILL)
        steps_until(supervisor, lambda: one(supervisor, "worker").restarts == 1)
        steps_until(supervisor, lambda: one(supervisor, "worker").state == "ready")
        after = one(supervisor, "worker")
        assert after.pid != before.pid
        assert after.last_exit.startswith("killed by SIGKILL")
        assert after.since > before.since


def test_a_program_that_cannot_be_started_is_named_and_tried_again(tmp_path: Path) -> None:
    lost = Program(name="lost", argv=("/no/such/server",), env={}, log=tmp_path / "log")
    with supervised([lost]) as (supervisor, events):
        steps_until(supervisor, lambda: one(supervisor, "lost").restarts >= 1)
        assert "cannot start" in events[0]
        assert "/no/such/server" in events[0]


def test_stopping_ends_dependents_first_and_is_quick(tmp_path: Path) -> None:
    script = (
        'trap \'echo $NAME >>"$HERE/order"; exit 0\' TERM; touch "$HERE/$NAME"; '
        "while :; do sleep 0.02; done"
    )
    names = ["broker", "server", "worker"]
    programs = [
        shell(tmp_path, name, script, ready=(tmp_path / name).exists, after=tuple(names[:place]))
        for place, name in enumerate(names)
    ]
    with supervised(programs) as (supervisor, _):
        steps_until(
            supervisor, lambda: all(status.state == "ready" for status in supervisor.status())
        )
        begun = time.monotonic()
        supervisor.stop()
        assert time.monotonic() - begun < 2.0
    assert (tmp_path / "order").read_text().split() == ["worker", "server", "broker"]
    assert [status.last_exit for status in supervisor.status()] == ["exited with code 0"] * 3


def test_what_does_not_listen_is_killed_when_its_time_is_up(tmp_path: Path) -> None:
    script = f'(trap "" TERM; exec sleep 1000) & echo $! $$ >"$HERE/pids"; {STUBBORN}'
    with supervised([shell(tmp_path, "deaf", script)], grace=0.3) as (supervisor, _):
        until(lambda: len(pids(tmp_path / "pids")) == 2)
        begun = time.monotonic()
        supervisor.stop()
        assert 0.3 <= time.monotonic() - begun < 2.0
        assert one(supervisor, "deaf").last_exit == "killed by SIGKILL"
        until(lambda: not any(alive(pid) for pid in pids(tmp_path / "pids")))


SUPERVISOR = """
    import os, signal, sys, threading
    from pathlib import Path
    from fleet.cli.supervisor import Program, Supervisor
    here = Path(sys.argv[1])
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    programs = [
        Program(name=path.stem, argv=("sh", str(path)), env=dict(os.environ, HERE=str(here)),
                log=here / "log")
        for path in sorted(here.glob("*.sh"))
    ]
    supervisor = Supervisor(programs, grace=float(sys.argv[2]))
    supervisor.run(stop)
    print("ended", flush=True)
"""

POLITE_WITH_CHILDREN = """
    trap 'touch "$HERE/asked"; exit 0' TERM
    sleep 1000 & echo $! >>"$HERE/pids"
    sh -c 'trap "" TERM INT HUP; echo $$ >>"$HERE/pids"; while :; do sleep 0.05; done' &
    echo $$ >>"$HERE/pids"
    wait
"""

DEAF_WITH_CHILDREN = """
    trap '' TERM
    sleep 1000 & echo $! >>"$HERE/pids"
    echo $$ >>"$HERE/pids"
    while :; do sleep 0.05; done
"""


@contextmanager
def supervisor_process(folder: Path, grace: float) -> Iterator[subprocess.Popen[str]]:
    (folder / "polite.sh").write_text(textwrap.dedent(POLITE_WITH_CHILDREN))
    (folder / "deaf.sh").write_text(textwrap.dedent(DEAF_WITH_CHILDREN))
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(SUPERVISOR), str(folder), str(grace)],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        until(lambda: len(pids(folder / "pids")) == 5)
        yield process
    finally:
        process.kill()
        process.communicate()
        for pid in pids(folder / "pids"):  # what a failed test has left
            if alive(pid):
                os.kill(pid, signal.SIGKILL)


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_kill_9_of_the_supervisor_leaves_nothing_behind(tmp_path: Path) -> None:
    with supervisor_process(tmp_path, grace=0.5) as process:
        family = {*pids(tmp_path / "pids"), *children(process.pid)}
        assert len(family) == 6  # five programs and their children, and the keeper
        process.kill()
        until(lambda: not any(alive(pid) for pid in family), seconds=5)
        assert (tmp_path / "asked").exists()  # each program was given the chance to end by itself


def test_a_program_is_known_to_the_keeper_before_it_runs(tmp_path: Path) -> None:
    keeper = Keeper(grace=0.1)
    keeper.watch(set())
    process = spawn(("sleep", "1000"), {}, tmp_path / "log", keeper.announce)
    keeper.dismiss()  # as if its supervisor had died before it could tell
    assert process.wait(10) == -signal.SIGKILL


def test_a_program_that_could_not_be_started_is_forgotten_by_the_keeper(tmp_path: Path) -> None:
    keeper = Keeper(grace=0.1)
    keeper.watch(set())
    with pytest.raises(FileNotFoundError):
        spawn(("/no/such/program",), {}, tmp_path / "log", keeper.announce)
    keeper.forget()
    stranger = subprocess.Popen(["sleep", "1000"], start_new_session=True)
    keeper._process.stdin.write(f"+{stranger.pid}\n".encode())  # as if its number were used again
    keeper.watch(set())
    keeper.dismiss()
    assert stranger.poll() is None
    stranger.kill()
    stranger.wait()


def test_programs_find_the_pipe_signal_as_they_should(tmp_path: Path) -> None:
    keeper = Keeper(grace=0.1)
    keeper.watch(set())
    process = spawn(("cat", "/proc/self/status"), {}, tmp_path / "log", keeper.announce)
    process.wait(10)
    keeper.dismiss()
    [ignored] = [
        line for line in (tmp_path / "log").read_text().splitlines() if line.startswith("SigIgn")
    ]
    assert not int(ignored.split()[1], 16) & 1 << (signal.SIGPIPE - 1)


def test_a_keeper_that_is_killed_is_replaced_and_still_keeps(tmp_path: Path) -> None:
    with supervisor_process(tmp_path, grace=0.5) as process:
        programs = set(pids(tmp_path / "pids"))
        (keeper,) = set(children(process.pid)) - programs
        os.kill(keeper, signal.SIGKILL)
        until(lambda: set(children(process.pid)) - programs - {keeper})
        process.kill()
        until(lambda: not any(alive(pid) for pid in programs), seconds=5)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_whole_tree_with_code_0(tmp_path: Path, number: signal.Signals) -> None:
    with supervisor_process(tmp_path, grace=0.5) as process:
        family = {*pids(tmp_path / "pids"), *children(process.pid)}
        process.send_signal(number)
        output, _ = process.communicate(timeout=10)
        assert process.returncode == 0
        assert output == "ended\n"
        until(lambda: not any(alive(pid) for pid in family), seconds=5)


def test_programs_are_started_from_the_main_thread_only(tmp_path: Path) -> None:
    supervisor = Supervisor([shell(tmp_path, "worker", PROMPT)])
    said: list[str] = []

    def start() -> None:
        try:
            supervisor.start()
        except RuntimeError as error:
            said.append(str(error))

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    supervisor.stop()
    assert said == ["programs must be started from the main thread"]


@pytest.mark.parametrize(
    ("afters", "says"),
    [
        ({"a": ("b",)}, "b, which is not there"),
        ({"a": ("b",), "b": ("a",)}, "wait for each other"),
    ],
)
def test_an_order_that_cannot_be_is_refused(
    tmp_path: Path, afters: dict[str, tuple[str, ...]], says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        Supervisor([shell(tmp_path, name, "", after=after) for name, after in afters.items()])


@given(st.lists(st.floats(0, 9.9), min_size=8))
def test_delays_double_up_to_ten_seconds_and_a_long_life_resets_them(lives: list[float]) -> None:
    delay = 0.0
    seen = [delay := next_delay(delay, lived) for lived in lives]
    assert seen[0] == 0.2
    assert all(later == min(2 * before, 10.0) for before, later in pairwise(seen))
    assert seen[-1] == 10.0
    assert next_delay(delay, 10.0) == 0.2
