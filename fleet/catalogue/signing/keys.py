"""The keys that the catalogue is signed with, and the files that hold them.

Rules this module keeps:

- A private key is only ever in a file that nobody else may read, and in memory.
- A root key has a file of its own, so that each can be put away apart from the others; the keys
  of the other roles are together in one file at the centre.
- No file that is there is written over, except that the centre's own is replaced whole.
"""

import json
import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Snapshot, Targets, Timestamp

from fleet.catalogue.signing.errors import SigningError
from fleet.catalogue.whole import replacing, settle

ONLINE = (Targets.type, Snapshot.type, Timestamp.type)
"""The roles that the centre signs by itself."""

OnlineKeys = Mapping[str, Sequence[CryptoSigner]]
"""For each of these roles the keys that sign: one, or two while one takes the other's place."""

_MODE = 0o600
_MOST = 64 * 1024


def make_online() -> dict[str, tuple[CryptoSigner, ...]]:
    """Make a key for each role of the centre."""
    return {role: (CryptoSigner.generate_ed25519(),) for role in ONLINE}


def read_online(path: Path) -> OnlineKeys:
    """Read the keys of the centre.

    Raises:
        SigningError: the file is missing, can be read by others, or is not such a file.
    """
    data = _secret(path, "FLEET_CATALOGUE_KEYS_FILE names what `fleet catalogue keys init` wrote")
    try:
        held = json.loads(data)
        return {role: tuple(_signer(pem.encode("ascii")) for pem in held[role]) for role in ONLINE}
    except (ValueError, KeyError, TypeError, AttributeError, UnsupportedAlgorithm):
        raise SigningError(
            f"{path} does not hold the catalogue's keys: put back the file that "
            "`fleet catalogue keys init` wrote, or make others with `fleet catalogue keys rotate`"
        ) from None


def write_online(path: Path, keys: OnlineKeys) -> None:
    """Write the keys of the centre, in place of those that are there.

    Raises:
        SigningError: they cannot be written; what was there is still there.
    """
    held = {role: [key.private_bytes.decode("ascii") for key in keys[role]] for role in ONLINE}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path, _MODE) as file:
            file.write(json.dumps(held, indent=1).encode("ascii"))
        settle(path.parent)
    except OSError as error:
        raise SigningError(f"{path} cannot be written: {error.strerror}") from error


def make_root(path: Path) -> CryptoSigner:
    """Make a root key, in a file that is not there yet.

    Raises:
        SigningError: it is there, or cannot be written.
    """
    key = CryptoSigner.generate_ed25519()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _MODE)
        with os.fdopen(descriptor, "wb") as file:
            file.write(key.private_bytes)
            file.flush()
            os.fsync(descriptor)
        settle(path.parent)
    except FileExistsError:
        raise SigningError(f"{path} is there already: a key is never written over") from None
    except OSError as error:
        raise SigningError(f"{path} cannot be written: {error.strerror}") from error
    return key


def read_root(path: Path) -> CryptoSigner:
    """Read a root key.

    Raises:
        SigningError: the file is missing, can be read by others, or holds no such key.
    """
    try:
        return _signer(_secret(path, "name the file that holds the root key"))
    except (ValueError, UnsupportedAlgorithm):
        raise SigningError(f"{path} holds no private key: name the file of a root key") from None


def _signer(pem: bytes) -> CryptoSigner:
    """Read a private key.

    Raises:
        ValueError: it is none.
        UnsupportedAlgorithm: it is none that signs.
    """
    try:
        return CryptoSigner(load_pem_private_key(pem, None))
    except TypeError as error:  # it is encrypted
        raise ValueError(str(error)) from error


def _secret(path: Path, remedy: str) -> bytes:
    """Read a file that only its owner may read."""
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            data = file.read(_MOST)
    except FileNotFoundError:
        raise SigningError(f"{path} is not there: {remedy}") from None
    except OSError as error:
        raise SigningError(f"{path} cannot be read: {error.strerror}") from error
    if mode & 0o077:
        raise SigningError(f"{path} can be read by others (mode {mode:04o}): chmod 600 {path}")
    return data
