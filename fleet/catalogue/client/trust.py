"""What a client trusts before it has asked anybody: one root, from a file or by its digest.

Rules this module keeps:

- The root that a folder was begun with stays in it.  Every later one is reached from there, each
  signed by the keys of the one before it.
- A digest is of a root's file.  That file is fetched from a mirror the first time, and nothing but
  the digest speaks for it.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tuf.api.exceptions import DownloadError, RepositoryError
from tuf.api.metadata import Metadata, Root

from fleet.catalogue.client.mirrors import Fetcher, Mirror

MAX_ROOT = 512_000
MAX_ROOTS = 256


class UntrustedError(Exception):
    """There is nothing to trust; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Trust:
    """What a person said: a root's file, or its SHA-256; neither where a folder was begun."""

    root: Path | None = None
    sha256: str = ""


def trusted(begun: Path, trust: Trust, mirrors: Sequence[Mirror], fetcher: Fetcher) -> bytes:
    """Return the root that a folder was begun with, which it keeps in ``begun``, or is to be.

    Raises:
        UntrustedError: nothing says which root that is, or it is another one.
    """
    if begun.exists():
        data = begun.read_bytes()
        _check_same(begun, data, trust)
        return data
    if trust.root is not None:
        data = _given(trust.root)
        if _parsed(data) is None:
            raise UntrustedError(
                f"{trust.root} is no root of a catalogue: give the file that its makers hand out"
            )
        return data
    if trust.sha256:
        return _pinned(trust.sha256.lower(), mirrors, fetcher)
    raise UntrustedError(
        f"{begun.parent} was not begun yet, and nothing says whose catalogue is meant: give the "
        "root that its makers hand out with --root FILE, or its digest with --root-sha256 HEX"
    )


def _check_same(begun: Path, data: bytes, trust: Trust) -> None:
    """Refuse another root than the one that a folder was begun with."""
    given = trust.sha256.lower()
    if trust.root is not None:
        given = hashlib.sha256(_given(trust.root)).hexdigest()
    if given and given != hashlib.sha256(data).hexdigest():
        raise UntrustedError(
            f"{begun.parent} was begun with another root: leave the root out to go on with that "
            "one, or sync into another folder"
        )


def _pinned(sha256: str, mirrors: Sequence[Mirror], fetcher: Fetcher) -> bytes:
    """Find the root of that digest at a mirror."""
    asked = []
    for mirror in mirrors:
        for version in range(1, MAX_ROOTS + 1):
            try:
                data = fetcher.download_bytes(f"{mirror.metadata}{version}.root.json", MAX_ROOT)
            except DownloadError as error:
                asked.append(f"{mirror.name}: {version}.root.json: {error}")
                break
            root = _parsed(data)
            if root is None or root.version != version:
                asked.append(f"{mirror.name}: {version}.root.json is no such root")
                break
            if hashlib.sha256(data).hexdigest() == sha256:
                return data
    raise UntrustedError(
        f"no mirror has a root of the SHA-256 {sha256} ({'; '.join(asked)}): "
        "check it with the catalogue's makers"
    )


def _given(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UntrustedError(f"{path} cannot be read: {error.strerror}") from None


def _parsed(data: bytes) -> Root | None:
    try:
        signed = Metadata[Root].from_bytes(data).signed
    except RepositoryError:
        return None
    return signed if isinstance(signed, Root) else None
