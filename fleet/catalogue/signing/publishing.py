"""Publishing: a set of files becomes the next state of the repository folder.

Rules this module keeps:

- What is signed already, by the keys at hand and for long enough, is not written again: with the
  same files nothing happens, until an expiry comes near.
- Nothing is written that a client with this root would refuse.
- A timestamp that is lost at the centre is followed by one of a higher version than any client has.
- When it was signed stands in the timestamp (``issued``), so that clients can tell how old it is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from securesystemslib.signer import CryptoSigner
from tuf.api.exceptions import UnsignedMetadataError
from tuf.api.metadata import (
    Metadata,
    MetaFile,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)
from tuf.api.serialization.json import JSONSerializer

from fleet.catalogue.signing.errors import SigningError
from fleet.catalogue.signing.folder import Folder, State
from fleet.catalogue.signing.keys import OnlineKeys, read_online
from fleet.catalogue.signing.lives import due, expiry
from fleet.torrent.paths import clash, path_fault

ISSUED = "issued"
SHA256 = "sha256"
MAX_NAME_BYTES = 180
"""Most bytes in a file's own name, which gets its SHA-256 before it on disk."""

LEAP = 1_000
"""More often than that no state is signed anew: from one on, it would take twenty years."""

S = TypeVar("S", Snapshot, Targets, Timestamp)


@dataclass(frozen=True, slots=True)
class Published:
    """What holds now.

    Attributes:
        state: its number.
        changed: whether anything was written.
        expires: until when clients take it, if nothing more is signed.
        warnings: what a person should look after.
    """

    state: int
    changed: bool
    expires: datetime
    warnings: tuple[str, ...]


def publish(place: Path, files: Mapping[str, Path], keys_file: Path, now: datetime) -> Published:
    """Make ``files``, by the names they are to have, the state that holds.

    Args:
        place: the repository folder.
        files: where each of them is, by its name.
        keys_file: where the centre's keys are.
        now: the moment.

    Raises:
        SigningError: it cannot be; what was published before still holds.
    """
    folder = Folder(place)
    with folder.locked():
        keys, root = read_online(keys_file), folder.root()
        _check_root(root, now)
        targets = {name: _described(name, path) for name, path in files.items()}
        if why := clash(targets):
            raise SigningError(f"{why}: give them other names")
        for name, target in sorted(targets.items()):
            folder.place_target(target, files[name])
        return _commit(folder, targets, root, keys, now)


def renew(
    folder: Folder, root: Metadata[Root], keys: OnlineKeys, now: datetime
) -> Published | None:
    """Sign anew what has to be, with the same files; None if nothing was published yet.

    Args:
        folder: the repository folder, which the caller holds.
        root: the newest one, or the one that clients are about to have.
        keys: of the centre.
        now: the moment.

    Raises:
        SigningError: it cannot be; what was published before still holds.
    """
    _check_root(root, now)
    state = folder.state()
    if state is None:
        return None
    return _commit(folder, state.targets.signed.targets, root, keys, now)


def _described(name: str, path: Path) -> TargetFile:
    if why := path_fault(name):
        raise SigningError(f"{why}: the catalogue cannot have a file of that name")
    if name.startswith(".") or "/." in name:
        raise SigningError(f"{name!r} is hidden: the catalogue has no such files")
    if len(name.rpartition("/")[2].encode()) > MAX_NAME_BYTES:
        raise SigningError(f"{name[:80]!r}… has a name of more than {MAX_NAME_BYTES} bytes")
    try:
        with path.open("rb") as file:
            return TargetFile.from_data(name, file, [SHA256])
    except OSError as error:
        raise SigningError(f"{path} cannot be read: {error.strerror}") from error


def _check_root(root: Metadata[Root], now: datetime) -> None:
    if root.signed.is_expired(now):
        raise SigningError(
            f"the root expired on {root.signed.expires:%Y-%m-%d}, and clients take nothing more: "
            "sign another with the root keys, `fleet catalogue keys rotate`"
        )


def _commit(
    folder: Folder,
    wanted: Mapping[str, TargetFile],
    root: Metadata[Root],
    keys: OnlineKeys,
    now: datetime,
) -> Published:
    """Write the state that has these files, unless it holds already."""
    old = folder.state()
    signing = _Signing(folder, root, keys, now)
    targets = signing.renewed(old.targets if old else None, Targets(targets=dict(wanted)))
    meta = {"targets.json": _described_metadata(targets)}
    snapshot = signing.renewed(old.snapshot if old else None, Snapshot(meta=meta))
    timestamp = signing.renewed(
        old.timestamp if old else None, Timestamp(snapshot_meta=_described_metadata(snapshot))
    )
    state = State(timestamp, snapshot, targets)
    changed = old is None or timestamp is not old.timestamp
    if changed:
        _place(folder, targets)
        _place(folder, snapshot)
        folder.settle()
        folder.place_metadata("timestamp.json", _bytes(timestamp))
        folder.settle()
    folder.sweep(state)
    return Published(
        state=snapshot.signed.version,
        changed=changed,
        expires=min(one.signed.expires for one in (root, timestamp, snapshot, targets)),
        warnings=_warnings(root, now),
    )


def _place(folder: Folder, metadata: Metadata[S]) -> None:
    name = f"{metadata.signed.version}.{metadata.signed.type}.json"
    if not (folder.metadata / name).exists():
        folder.place_metadata(name, _bytes(metadata))


class _Signing:
    """Signs what is not signed yet, or not for long enough."""

    def __init__(
        self, folder: Folder, root: Metadata[Root], keys: OnlineKeys, now: datetime
    ) -> None:
        self._folder = folder
        self._root = root.signed
        self._keys = keys
        self._now = now

    def renewed(self, old: Metadata[S] | None, fresh: S) -> Metadata[S]:
        """Return ``old`` if it says what ``fresh`` does and is good; else sign ``fresh``.

        Raises:
            SigningError: the keys at hand are not those that the root names.
        """
        role: str = fresh.type
        keys = self._keys[role]
        if old is not None and self._is_good(old, fresh, keys):
            return old
        known = [0, *self._folder.versions(role)]  # of what a kill left too
        fresh.version = max(known[-1], old.signed.version if old else self._lost(fresh)) + 1
        fresh.expires = expiry(role, self._now)
        if isinstance(fresh, Timestamp):
            fresh.unrecognized_fields[ISSUED] = f"{self._now.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
        signed = Metadata(fresh)
        for key in keys:
            signed.sign(key, append=True)
        try:
            self._root.verify_delegate(role, signed.signed_bytes, signed.signatures)
        except UnsignedMetadataError:
            raise SigningError(
                f"the key for {role} is not one that root {self._root.version} names: put back "
                "the file of its keys, or name others with `fleet catalogue keys rotate --online`"
            ) from None
        return signed

    def _lost(self, fresh: S) -> int:
        """Return what version a client may have whose successor is not here: no name tells it."""
        if not isinstance(fresh, Timestamp):
            return 0
        states = self._folder.versions(Snapshot.type)
        return states[-1] + LEAP if states else 0

    def _is_good(self, old: Metadata[S], fresh: S, keys: Sequence[CryptoSigner]) -> bool:
        role, expires = fresh.type, old.signed.expires
        if _content(old.signed) != _content(fresh) or due(role, expires, self._now):
            return False
        if expires > expiry(role, self._now):  # a clock was ahead, and no absence would be noticed
            return False
        if set(old.signatures) != {key.public_key.keyid for key in keys}:
            return False
        try:
            self._root.verify_delegate(fresh.type, old.signed_bytes, old.signatures)
        except UnsignedMetadataError:
            return False
        return True


def _content(signed: Snapshot | Targets | Timestamp) -> object:
    if isinstance(signed, Targets):
        return signed.targets
    return signed.meta if isinstance(signed, Snapshot) else signed.snapshot_meta


def _bytes(metadata: Metadata[S]) -> bytes:
    return metadata.to_bytes(JSONSerializer(compact=True))


def _described_metadata(metadata: Metadata[S]) -> MetaFile:
    return MetaFile.from_data(metadata.signed.version, _bytes(metadata), [SHA256])


def _warnings(root: Metadata[Root], now: datetime) -> tuple[str, ...]:
    if not due(Root.type, root.signed.expires, now):
        return ()
    expires = f"{root.signed.expires:%Y-%m-%d}"
    return (f"the root expires on {expires}: sign the next one, `fleet catalogue keys rotate`",)
