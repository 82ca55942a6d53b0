"""`fleet torrent adopt`: takes up torrents that others made, one by one."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import typer

from fleet.cli import local, tables
from fleet.cli.text import clean
from fleet.cli.torrent.torrent_file import read
from fleet.control import aliases
from fleet.control.errors import FleetError
from fleet.planning.states import AliasState
from fleet.store.database import Store

_INCOMPLETE = 3


def main(files: Sequence[Path], *, version: str, as_json: bool) -> int:
    """Take up these torrents; one that is refused stops no other.

    Returns:
        The exit code: 0, or 3 when one of them was not taken up or is not of our bytes.

    Raises:
        FleetError: none of them was taken up.
    """
    store = local.store()
    told = [_adopt(store, path, version) for path in files]
    refused = [one for one in told if one["state"] == AliasState.REFUSED]
    lost = [one for one in refused if not one["infohash"]]
    if len(lost) == len(told) and not as_json:
        first = lost[0]
        more = f" (and {len(lost) - 1} more were refused)" if len(lost) > 1 else ""
        raise FleetError(f"{first['file']}: {first['reason']}{more}")
    if as_json:
        typer.echo(json.dumps(told, ensure_ascii=False))
    else:
        tables.show_adopted([one for one in told if one["infohash"]])
        for one in lost:
            typer.echo(f"fleet: {clean(one['file'])}: {clean(one['reason'])}", err=True)
    return _INCOMPLETE if refused else 0


def _adopt(store: Store, path: Path, version: str) -> dict[str, Any]:
    """Take up one torrent; tell what became of it, or why nothing did."""
    try:
        adopted = aliases.adopt(store, read(path), version)
    except FleetError as error:
        return {"file": str(path), "infohash": "", "state": "refused", "reason": str(error)}
    return {"file": str(path)} | asdict(adopted)
