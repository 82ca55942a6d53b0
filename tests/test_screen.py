import io
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from fleet.cli.screen import DatasetLine, Screen, SiteLine, Snapshot, changes, render
from fleet.cli.supervisor import State, Status
from fleet.cli.text import clean, duration, size

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
LONG_ID = "ca_statcan-2021A000011124_d4c-datapkg-census_of_population_2021_" + "x" * 69


def program(
    name: str,
    state: State = "ready",
    *,
    pid: int | None = 4194304,
    restarts: int = 0,
    end: str = "",
) -> Status:
    return Status(name, pid, state, restarts, NOW - timedelta(seconds=75), end)


PROGRAMS = [
    program("broker"),
    program("scheduler"),
    program("consumer", "restarting", pid=None, restarts=17, end="exited with code 7 after 0.4 s"),
    *(
        program(f"{kind}@{site}")
        for site in ("toronto", "amsterdam", "virginia")
        for kind in ("bulk", "light", "seeder")
    ),
]
FULL = Snapshot(
    processes=PROGRAMS,
    sites=[
        SiteLine("toronto", available=1301, copying=22, bad=3, transfers=4),
        SiteLine("amsterdam", available=1298),
        SiteLine("virginia"),
    ],
    datasets=[DatasetLine(LONG_ID, "v0.1.0-beta", "published", 1301, 3903, 203_400_000)],
    page_url="http://127.0.0.1:48484/",
    events=[f"toronto: pulled file number {number} of the sample" for number in range(30)],
    at=NOW,
)


def lines(snapshot: Snapshot, width: int, height: int | None = None) -> list[str]:
    console = Console(width=width, height=500, file=io.StringIO(), color_system=None)
    console.print(render(snapshot, width, height))
    assert isinstance(console.file, io.StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def row(shown: Sequence[str], name: str) -> list[str]:
    """The words of the row that begins with ``name``, from there on."""
    line = next(line for line in shown if f" {name} " in f" {line} ")
    return line[line.index(name) :].split()


@pytest.mark.parametrize("width", [80, 120])
def test_no_key_fact_is_cut_off(width: int) -> None:
    shown = lines(FULL, width)
    assert max(map(len, shown)) <= width
    assert "…" not in "".join(shown)
    assert "http://127.0.0.1:48484/" in shown[0]
    assert row(shown, "toronto")[:5] == ["toronto", "1301", "22", "3", "4"]
    assert row(shown, "virginia")[:5] == ["virginia", "0", "0", "0", "0"]
    assert row(shown, "seeder@amsterdam")[:6] == [
        "seeder@amsterdam",
        "ready",
        "4194304",
        "1",
        "min",
        "15",
    ]
    assert row(shown, "consumer")[:6] == ["consumer", "restarting", "1", "min", "15", "s"]
    text = "".join("".join(shown).split())
    for fact in ("exitedwithcode7", "v0.1.0-beta", "published", "1301of3903", "203MB"):
        assert fact in text
    assert "file number 29" in shown[-1]


def test_a_dataset_s_long_id_is_folded_not_cut() -> None:
    shown = lines(replace(FULL, processes=[], sites=[], events=[]), 80)
    folded = "".join(line.split()[0] for line in shown[3:] if line)
    assert folded.startswith(LONG_ID)


@pytest.mark.parametrize("height", [24, 30, 50])
def test_a_low_screen_keeps_what_matters(height: int) -> None:
    shown = lines(FULL, 80, height)
    assert len(shown) <= height
    assert row(shown, "toronto")[:5] == ["toronto", "1301", "22", "3", "4"]
    assert row(shown, "consumer")[1] == "restarting"
    text = " ".join(" ".join(shown).split())
    for status in PROGRAMS:
        assert status.name in text
    assert "file number 29" in text


def test_programs_that_are_well_share_lines_only_where_they_must() -> None:
    assert any(line.startswith("11 programs ready: broker") for line in lines(FULL, 80, 24))
    assert not any("programs ready" in line for line in lines(FULL, 80, 60))


def test_at_120_columns_sites_and_programs_stand_side_by_side() -> None:
    assert any("Available" in line and "Program" in line for line in lines(FULL, 120))
    assert not any("Available" in line and "Program" in line for line in lines(FULL, 80))


@settings(deadline=None, max_examples=30)
@given(st.text(max_size=40))
def test_names_from_outside_cannot_command_the_terminal(name: str) -> None:
    hostile = "\x1b[2J[red]" + name
    snapshot = Snapshot(
        sites=[SiteLine(hostile)],
        datasets=[DatasetLine(hostile, name, name, 0, 1, 0)],
        events=[hostile],
        at=NOW,
    )
    shown = "".join(lines(snapshot, 80))
    assert "[red]" in shown
    assert shown.isprintable()
    assert all(line.isprintable() for line in changes(Snapshot(), snapshot))


def shown_by(terminal: bool, snapshots: Sequence[Snapshot]) -> list[str]:
    file = io.StringIO()
    with Screen(Console(file=file, width=80, height=30, force_terminal=terminal)) as screen:
        for snapshot in snapshots:
            screen.show(snapshot)
    return file.getvalue().splitlines()


def test_without_a_terminal_only_what_changed_is_said() -> None:
    later = replace(
        FULL,
        sites=[FULL.sites[0], replace(FULL.sites[1], available=1299), FULL.sites[2]],
        events=[*FULL.events[2:], "amsterdam: pulled the last one", "consumer: ready"],
        at=NOW + timedelta(seconds=9),
    )
    once = shown_by(False, [FULL])
    said = shown_by(False, [FULL, FULL, later, later])
    assert said[: len(once)] == once
    assert said[len(once) :] == [
        "site amsterdam: 1299 available, 0 copying, 0 bad, 0 running",
        "amsterdam: pulled the last one",
        "consumer: ready",
    ]
    assert f"{LONG_ID} v0.1.0-beta: published, 1301 of 3903" in once
    assert not any("\x1b" in line for line in said)


def test_a_terminal_gets_the_screen_and_its_cursor_back() -> None:
    output = "\n".join(shown_by(True, [FULL, FULL]))
    assert output.startswith("\x1b[?25l")
    assert output.count("Available") >= 2
    assert output.rstrip().endswith("\x1b[?25h")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1, "0 s"), (59.9, "59 s"), (60, "1 min 00 s"), (7500, "2 h 05 min"), (90000, "1 d 01 h")],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (203_400_000, "203 MB"),
        (999_600_000, "1.0 GB"),
        (5_080_000_000_000, "5.1 TB"),
    ],
)
def test_sizes(count: int, text: str) -> None:
    assert size(count) == text


def test_clean_keeps_what_can_be_read() -> None:
    assert (
        clean("Île-du-Prince-Édouard 2021\n")
        == "Île-du-Prince-Édouard 2021\N{REPLACEMENT CHARACTER}"
    )
