"""What is wrong with torrents: for each file its findings, one a row.

A file that cannot be read is one error among the others: the rest is looked at all the same.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from fleet.cli.text import clean
from fleet.cli.torrent.show import seed_facts
from fleet.cli.torrent.torrent_file import read
from fleet.control.errors import FleetError
from fleet.torrent.lint import Finding, Linted, lint, worst_first

_STYLES = {"error": "red", "warning": "yellow", "note": ""}


def main(paths: Sequence[Path], *, probe: bool, as_json: bool) -> int:
    """Print what was found, and give the exit code.

    Raises:
        FleetError: web seeds cannot be probed here.
    """
    found = [_look(path, probe=probe) for path in paths]
    if as_json:
        facts = [_facts(path, linted) for path, linted in zip(paths, found, strict=True)]
        sys.stdout.write(json.dumps(facts, ensure_ascii=False) + "\n")
    else:
        console = Console()
        for path, linted in zip(paths, found, strict=True):
            _print(console, path, linted)
    return int(any(linted.errors for linted in found))


def _look(path: Path, *, probe: bool) -> Linted:
    try:
        linted = lint(read(path))
    except FleetError as error:
        return Linted(None, (Finding("unreadable", "error", str(error)),))
    if linted.torrent is None or not probe:
        return linted
    from fleet.cli.torrent.probing import probe_seeds

    probed = probe_seeds(linted.torrent, linted.torrent.web_seeds)
    return Linted(linted.torrent, worst_first([*linted.findings, *probed]))


def _facts(path: Path, linted: Linted) -> dict[str, Any]:
    torrent = linted.torrent
    return {
        "file": str(path),
        "ok": not linted.errors,
        "infohash": torrent.infohash if torrent else None,
        "web_seeds": seed_facts(torrent) if torrent else [],
        "findings": [asdict(one) for one in linted.findings],
    }


def _print(console: Console, path: Path, linted: Linted) -> None:
    """Print a row for each finding; its URLs stand on lines of their own, to be copied."""
    name = linted.torrent.infohash if linted.torrent else "refused"
    console.print(Text(clean(f"{path}  {name}"), style="bold"), soft_wrap=True)
    width = max((len(one.code) for one in linted.findings), default=0)
    for one in linted.findings:
        row = Text(f"  {one.severity:<8}", style=_STYLES[one.severity])
        row.append(f" {one.code:<{width}}  {clean(one.text)}", style="default")
        console.print(row, soft_wrap=True)
        if one.seed:
            console.print(Text(clean(f"{'':<11}web seed   {one.seed}")), soft_wrap=True)
            console.print(Text(clean(f"{'':<11}asked for  {one.asks}")), soft_wrap=True)
    if not linted.findings:
        console.print("  nothing is wrong with it")
