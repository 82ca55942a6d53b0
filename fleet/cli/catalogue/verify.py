"""`fleet catalogue verify`: what was synced, against what was signed."""

import sys
from datetime import UTC, datetime
from pathlib import Path

import typer

from fleet.catalogue.client import Home, verify
from fleet.cli.catalogue import words
from fleet.cli.programs import print_json
from fleet.cli.text import clean

FAILED = 1


def main(folder: Path, *, as_json: bool) -> int:
    """Verify, and give the exit code: 0 if all is as it was signed, and in date.

    Raises:
        FleetError: there is no catalogue, or its signatures are damaged.
    """
    now = datetime.now(UTC)
    with words.refusing():
        found = verify(Home(folder), now)
    if as_json:
        faults = [{"path": one.path, "reason": one.reason} for one in found.faults]
        about = {"good": found.good, "expired": found.expired, "faults": faults}
        print_json(about | words.as_json(found.signed, now))
        return 0 if found.good else FAILED
    typer.echo(f"{clean(str(folder))} is {words.state(found.signed, now)}")
    for one in found.faults:
        sys.stderr.write(f"fleet: {clean(one.path)}: {one.reason}\n")
    if found.expired:
        sys.stderr.write("fleet: it has expired: there may be a newer one, sync again\n")
    if found.faults:
        sys.stderr.write("fleet: sync again, which mends what is damaged or missing\n")
    return 0 if found.good else FAILED
