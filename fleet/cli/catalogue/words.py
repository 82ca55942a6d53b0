"""What the commands of the catalogue say alike: refusals, and what a state is."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from fleet.catalogue.client import MirrorError, Signed, SyncError, UntrustedError
from fleet.catalogue.signing.errors import SigningError
from fleet.cli.text import clean, duration, size
from fleet.control.errors import FleetError


@contextmanager
def refusing() -> Iterator[None]:
    """Say what was refused as every command does.

    Raises:
        FleetError: something was.
    """
    try:
        yield
    except (SigningError, SyncError, UntrustedError, MirrorError) as error:
        raise FleetError(clean(str(error))) from error
    except BlockingIOError as error:
        raise FleetError("the folder is in use by another `fleet catalogue`") from error
    except OSError as error:
        place = clean(str(error.filename or "the folder"))
        raise FleetError(f"{place}: {error.strerror or error}") from error


def state(signed: Signed, now: datetime) -> str:
    """Say what a state is, and how old."""
    files = f"{len(signed.targets)} file{'s' * (len(signed.targets) != 1)}"
    told = [f"state {signed.number}: {files}, {size(signed.size)}"]
    if signed.issued is not None:
        age = duration((now - signed.issued).total_seconds())
        told.append(f"signed as the newest on {signed.issued:%Y-%m-%d %H:%M} UTC, {age} ago")
    told.append(f"good until {signed.expires:%Y-%m-%d}")
    return "; ".join(told)


def as_json(signed: Signed, now: datetime) -> dict[str, Any]:
    """Lay a state out for programs."""
    return {
        "state": signed.number,
        "issued": signed.issued,
        "age_seconds": None if signed.issued is None else (now - signed.issued).total_seconds(),
        "expires": signed.expires,
        "bytes": signed.size,
        "files": [
            {"path": one.path, "size": one.length, "sha256": one.hashes.get("sha256")}
            for one in signed.targets
        ],
    }
