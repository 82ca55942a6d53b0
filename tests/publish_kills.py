"""Publications that are killed at each boundary of what they ask and remember, and done again."""

import io
import os
import signal
from dataclasses import dataclass
from pathlib import Path

from fleet.invenio import Calls, Patience
from fleet.rehearsal.service import Phase
from fleet.rehearsal.zenodo import Switches, Zenodo
from fleet.repositories import Memory, Publisher
from tests.publish_support import AGENT, FILES, Notebook, bearing, bytes_of, deposit
from tests.storage_kills import killed, run

SETTLE = 1.0
LAG = 0.3
# One account for each version, since no account may ask more than 100 times in a minute.
TOKENS = {str(number): str(number) for number in range(100)}


@dataclass
class Figures:
    """What came of all kills.

    Attributes:
        kills: how many there were.
        incomplete: publications that did not succeed when they were done again.
        double_dois: records, and so DOIs, beyond the one that was asked for.
        corrupt_published: records whose files are not those of the version.
        left: drafts that were left behind.
    """

    kills: int = 0
    incomplete: int = 0
    double_dois: int = 0
    corrupt_published: int = 0
    left: int = 0

    def add(self, zenodo: Zenodo, version: str, exitcode: int | None) -> None:
        """Count what came of one version."""
        found = bearing(zenodo, version)
        records = [one for one in found if one.published]
        self.incomplete += exitcode != 0 or not records
        self.double_dois += max(0, len(records) - 1)
        self.corrupt_published += sum(bytes_of(one) != FILES for one in records)
        self.left += len(found) - len(records)


def publications(home: Path, phase: Phase, *, following: bool) -> Figures:
    """Kill a publication at every boundary of its requests in turn, and do it again.

    Args:
        home: an empty folder.
        phase: of the request, at which it is killed.
        following: whether it is the next version of a dataset that has a record.
    """
    figures = Figures()
    with Zenodo(home / "bytes", tokens=TOKENS, switches=Switches(index_lag=LAG)) as zenodo:
        for at in range(1, _requests(zenodo, home, following=following) + 1):
            version, note = f"{phase}-{at}", home / f"{phase}-{at}"
            previous = _first(zenodo, f"{at}", home / f"{phase}-{at}-before") if following else ""
            died = killed(zenodo, at, phase, _publish, zenodo.url, str(at), note, version, previous)
            figures.kills += died
            done = run(_publish, zenodo.url, str(at), note, version, previous)
            figures.add(zenodo, version, done.exitcode)
    return figures


def memories(home: Path) -> Figures:
    """Kill a publication before and after each time that it remembers something."""
    figures = Figures()
    with Zenodo(home / "bytes", tokens=TOKENS, switches=Switches(index_lag=LAG)) as zenodo:
        for after in (False, True):
            at, died = 0, True
            while died:
                at += 1
                version, note = f"{after}-{at}", home / f"{after}-{at}"
                first = run(_publish, zenodo.url, str(at), note, version, "", at, after)
                died = first.exitcode == -signal.SIGKILL
                figures.kills += died
                done = run(_publish, zenodo.url, str(at), note, version, "")
                figures.add(zenodo, version, done.exitcode)
    return figures


def _requests(zenodo: Zenodo, home: Path, *, following: bool) -> int:
    """Count what a publication asks that nobody disturbs."""
    previous = _first(zenodo, "0", home / "counted-before") if following else ""
    before = len(zenodo.log)
    _publish(zenodo.url, "0", home / "counted", "counted", previous)
    return len(zenodo.log) - before


def _first(zenodo: Zenodo, token: str, note: Path) -> str:
    _publish(zenodo.url, token, note, note.name, "")
    return Notebook(note).read().record


def _publish(
    url: str,
    token: str,
    note: Path,
    version: str,
    previous: str,
    last: int = 0,
    after: bool = False,
) -> None:
    notebook = Notebook(note)
    count = 0

    def remember(memory: Memory) -> None:
        nonlocal count
        count += 1
        if count != last:
            notebook(memory)
            return
        if after:
            notebook(memory)
        os.kill(os.getpid(), signal.SIGKILL)

    with Calls(url, AGENT, token, Patience(60)) as calls:
        publisher = Publisher(calls, remember, SETTLE)
        wanted = deposit(version, previous=previous)
        publisher.publish(wanted, notebook.read(), lambda one: io.BytesIO(FILES[one.key]))
