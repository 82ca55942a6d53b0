"""`fleet catalogue keys`: made, shown and replaced; no private key is ever printed."""

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import typer

from fleet.catalogue.signing import rotation
from fleet.catalogue.signing.lives import due
from fleet.cli.catalogue import words
from fleet.cli.programs import print_json
from fleet.cli.text import clean
from fleet.settings import CentreSettings


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be otherwise in the next root."""

    online: bool
    new: tuple[Path, ...]
    drop: tuple[str, ...]
    threshold: int | None


def init(root_keys: Sequence[Path], threshold: int, *, as_json: bool) -> None:
    """Make all keys.

    Raises:
        FleetError: there are keys already, or they cannot be written.
    """
    settings = CentreSettings()
    with words.refusing():
        made = rotation.init(
            settings.catalogue, settings.catalogue_keys, root_keys, threshold, datetime.now(UTC)
        )
    if as_json:
        print_json(asdict(made))
        return
    _tell(made)
    typer.echo(f"the centre's keys: {clean(str(settings.catalogue_keys))}")
    for path in root_keys:
        typer.echo(f"a root key, to be put away: {clean(str(path))}")


def rotate(root_keys: Sequence[Path], asked: Asked, *, as_json: bool) -> None:
    """Sign the next root.

    Raises:
        FleetError: the keys are not enough, or cannot be read or written.
    """
    settings = CentreSettings()
    with words.refusing():
        made = rotation.rotate(
            settings.catalogue,
            settings.catalogue_keys,
            root_keys,
            datetime.now(UTC),
            online=asked.online,
            new=asked.new,
            drop=asked.drop,
            threshold=asked.threshold,
        )
    if as_json:
        print_json(asdict(made))
        return
    _tell(made)
    for path in asked.new:
        typer.echo(f"a root key, to be put away: {clean(str(path))}")


def show(*, as_json: bool) -> None:
    """Show all roots, and what a person should look after.

    Raises:
        FleetError: there is none, or one cannot be read.
    """
    settings = CentreSettings()
    with words.refusing():
        roots = rotation.roots(settings.catalogue)
        unfit = rotation.unfit(settings.catalogue, settings.catalogue_keys)
    newest = roots[-1]
    warnings = [unfit] if unfit else []
    if due("root", newest.expires, datetime.now(UTC)):
        warnings.append(
            f"root {newest.version} expires on {newest.expires:%Y-%m-%d}: "
            "sign the next one, `fleet catalogue keys rotate`"
        )
    if as_json:
        print_json({"roots": [asdict(one) for one in roots], "warnings": warnings})
        return
    for root in roots[:-1]:
        typer.echo(f"root {root.version}: SHA-256 {root.sha256}")
    _tell(newest)
    for role, held in newest.keys.items():
        for keyid in held:
            typer.echo(f"{role:9} {keyid}")
    for warning in warnings:
        sys.stderr.write(f"fleet: {clean(warning)}\n")


def _tell(root: rotation.Rooted) -> None:
    typer.echo(
        f"root {root.version}: SHA-256 {root.sha256}, signed by {root.threshold} of "
        f"{len(root.keys['root'])} keys, good until {root.expires:%Y-%m-%d}"
    )
