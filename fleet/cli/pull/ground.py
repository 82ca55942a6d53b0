"""The folder that a person has files pulled into, and the settings that hold there."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from pydantic import ValidationError

from fleet.cli.text import clean
from fleet.control.errors import FleetError
from fleet.planning.addresses import Network
from fleet.settings import SiteSettings
from workers.storage.posix import PosixStorage

SITE = "pull"
STAGING = ".staging"


def made(to: Path) -> Path:
    """Make the folder.

    Raises:
        FleetError: it cannot be one.
    """
    try:
        to.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FleetError(f"{clean(str(to))} cannot be made a folder: {error.strerror}") from error
    return to.absolute()


def settings_for(to: Path, typed: Sequence[Network]) -> SiteSettings:
    """Read the environment as a site does, and allow the private addresses that were typed.

    Raises:
        FleetError: a variable cannot be used.
    """
    try:
        settings = SiteSettings(site=SITE, root=to)
    except ValidationError as error:
        first = error.errors()[0]
        name = "_".join(str(part) for part in first["loc"]).upper()
        raise FleetError(f"the environment's FLEET_{name}: {first['msg']}") from error
    allowed = settings.allow_networks + tuple(typed)
    return settings.model_copy(update={"allow_networks": allowed})


def tidy(storage: PosixStorage) -> None:
    """Remove our folder if nothing is left in it."""
    with suppress(OSError):
        (storage.root / STAGING).rmdir()
