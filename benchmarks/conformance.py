"""Every storage under one contract: the suite by driver, the faults tried, and writes killed.

The conformance suite and the fault suites are those of the tests, run by pytest as they are and
counted by driver; the kills are made by the same code as in the tests, a SIGKILL at every boundary
of what an upload asks, and of what a publication asks and remembers.
"""

import subprocess
import sys
import xml.etree.ElementTree as ET
from collections import defaultdict
from dataclasses import asdict
from pathlib import Path

from benchmarks.contest import missed, options, show
from benchmarks.engine import HOME
from benchmarks.ground import MIB, ground, say
from fleet.rehearsal.zenodo.troubles import TROUBLES, line
from tests import test_storage_archive, test_storage_faults, test_storage_zenodo
from tests.publish_kills import memories, publications
from tests.storage_kills import KILLED, PHASES
from tests.storage_support import SERVERS

CONFORMANCE = "tests/test_storage_conformance.py"
FAULTS = {  # the faults tried of each driver, and the suite that tries them
    "s3": (test_storage_faults.ONCE, "tests/test_storage_faults.py"),
    "archive": (test_storage_archive.ONCE, "tests/test_storage_archive.py"),
    "zenodo": (test_storage_zenodo.ONCE, "tests/test_storage_zenodo.py"),
    "publishing": ([line(name) for name in TROUBLES], "tests/test_repositories_troubles.py"),
}
WANTED = {
    "failed": ("<=", 0.0),
    "incomplete": ("<=", 0.0),
    "corrupt_published": ("<=", 0.0),
    "double_items": ("<=", 0.0),
    "double_dois": ("<=", 0.0),
    "left_behind": ("<=", 0.0),
}


def run(folder: Path) -> dict[str, dict[str, int]]:
    """Run the suites; count by driver what passed and what failed."""
    report = folder / "report.xml"
    suites = [CONFORMANCE, *(suite for _, suite in FAULTS.values())]
    command = [sys.executable, "-m", "pytest", "-q", "-n0", f"--junitxml={report}", *suites]
    subprocess.run(command, cwd=HOME, stdout=sys.stderr, check=False)
    found: dict[str, dict[str, int]] = defaultdict(lambda: {"passed": 0, "failed": 0})
    for case in ET.parse(report).iter("testcase"):  # noqa: S314 - pytest wrote it just now
        if case.find("skipped") is not None:
            continue
        bad = case.find("failure") is not None or case.find("error") is not None
        found[_driver(case.get("classname", ""), case.get("name", ""))][
            "failed" if bad else "passed"
        ] += 1
    return dict(found)


def _driver(suite: str, name: str) -> str:
    """Say of which driver a test is, or the faults of which it tries."""
    for driver, (_, file) in FAULTS.items():
        if suite == file.removesuffix(".py").replace("/", "."):
            return f"{driver} faults"
    told = name.partition("[")[2].rstrip("]").split("-")
    return next(one for one in told if one in SERVERS)


def kills(folder: Path, size: int) -> dict[str, dict[str, int]]:
    """Kill uploads to each kind of storage, and publications; give the figures of each."""
    found = {}
    for name, upload in KILLED.items():
        say(f"uploads are killed: {name}")
        found[name] = asdict(upload(_home(folder, name), size))
    for following in (False, True):
        for phase in PHASES:
            name = f"{'next' if following else 'first'} version, {phase}"
            say(f"publications are killed: {name}")
            home = _home(folder, name)
            found[name] = asdict(publications(home, phase, following=following))
    say("publications are killed: around what is remembered")
    found["memories"] = asdict(memories(_home(folder, "memories")))
    return found


def _home(folder: Path, name: str) -> Path:
    home = folder / name.replace(", ", "-").replace(" ", "-")
    home.mkdir()
    return home


def main() -> None:
    """Run everything, and print what was found."""
    given = options(__doc__, "bytes of each upload that is killed (20 MiB)").parse_args()
    with ground(1024 * MIB) as folder:
        drivers = run(folder)
        killed = kills(folder, given.size or 20 * MIB)

    def count(*names: str) -> int:
        return sum(one.get(name, 0) for one in killed.values() for name in names)

    result = {
        "passed": sum(one["passed"] for one in drivers.values()),
        "failed": sum(one["failed"] for one in drivers.values()),
        "drivers": drivers,
        "faults": {driver: faults for driver, (faults, _) in FAULTS.items()},
        "kills": count("kills"),
        "incomplete": count("incomplete"),
        "corrupt_published": count("corrupt", "corrupt_published"),
        "double_items": count("double"),
        "double_dois": count("double_dois"),
        "left_behind": count("left"),
        "killed": killed,
    }
    show({**result, "missed": missed(result, WANTED)}, WANTED, as_json=given.json)


if __name__ == "__main__":
    main()
