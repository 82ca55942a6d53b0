"""Roots: who may sign what.  The first one, and those that put other keys in the place of keys.

Rules this module keeps:

- A root is signed by as many keys of the root before it as that one asks for, and by as many of its
  own: whoever trusts one can follow to the next.
- New keys of the centre are kept before anything is signed with them.  What holds is then signed
  with the old and the new ones, and only then does the root appear that names the new: at no moment
  does a client see metadata that the root it knows does not answer for.
- A rotation that was broken off is done again from its beginning.  One that fails leaves no root
  key that no root names.
- Nobody else publishes or rotates meanwhile, and no root is ever written over.
"""

import hashlib
from collections.abc import Sequence
from contextlib import ExitStack
from copy import deepcopy
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, Root
from tuf.api.serialization.json import JSONSerializer

from fleet.catalogue.signing.errors import SigningError
from fleet.catalogue.signing.folder import Folder
from fleet.catalogue.signing.keys import (
    ONLINE,
    OnlineKeys,
    make_online,
    make_root,
    read_online,
    read_root,
    write_online,
)
from fleet.catalogue.signing.lives import expiry
from fleet.catalogue.signing.publishing import renew


@dataclass(frozen=True, slots=True)
class Rooted:
    """A root as a person checks it.

    Attributes:
        version: its number.
        sha256: of its file, which people may pin.
        threshold: how many of the root's keys have to sign.
        keys: the ids of each role's keys.
        expires: when clients take it no longer.
    """

    version: int
    sha256: str
    threshold: int
    keys: dict[str, tuple[str, ...]]
    expires: datetime


def init(
    place: Path, keys_file: Path, root_keys: Sequence[Path], threshold: int, now: datetime
) -> Rooted:
    """Make all keys and the first root.

    Args:
        place: the repository folder.
        keys_file: where the centre's keys go.
        root_keys: where the root's keys go, one file each.
        threshold: how many of them a root has to be signed by.
        now: the moment.

    Raises:
        SigningError: a root or a file of keys is there already, or cannot be written.
    """
    _check_threshold(threshold, len(root_keys))
    folder = Folder(place)
    with folder.locked(), ExitStack() as unfinished:
        if folder.versions(Root.type):
            raise SigningError(
                f"{folder.metadata} has a root: `fleet catalogue keys rotate` replaces keys"
            )
        for path in (keys_file, *root_keys):
            if path.exists():
                raise SigningError(f"{path} is there already: a key is never written over")
        signers = [_made(path, unfinished) for path in root_keys]
        online = make_online()
        unfinished.callback(keys_file.unlink, missing_ok=True)
        write_online(keys_file, online)
        root = Root(consistent_snapshot=True)
        for signer in signers:
            root.add_key(signer.public_key, Root.type)
        root.roles[Root.type].threshold = threshold
        _name(root, online)
        unfinished.pop_all()  # from here on it may be that somebody has the root
        return _write(folder, _signed(root, signers, now))


def rotate(
    place: Path,
    keys_file: Path,
    root_keys: Sequence[Path],
    now: datetime,
    *,
    online: bool = False,
    new: Sequence[Path] = (),
    drop: Sequence[str] = (),
    threshold: int | None = None,
) -> Rooted:
    """Sign the next root, good for another year, with other keys where that is asked for.

    Args:
        place: the repository folder.
        keys_file: where the centre's keys are, and others go.
        root_keys: files of root keys that sign.
        now: the moment.
        online: put new keys in the place of the centre's.
        new: where further root keys go, one file each.
        drop: ids of root keys that are to be no more.
        threshold: how many root keys have to sign from now on; else as many as before.

    Raises:
        SigningError: the keys are not enough, or a file cannot be read or written.
    """
    folder = Folder(place)
    with folder.locked(), ExitStack() as unfinished:
        before = folder.root()
        root = _next(before.signed, drop, threshold, len(new))
        signers = [read_root(path) for path in root_keys]
        _check_signers(before.signed, root, signers, root_keys, len(new))
        made = [_made(path, unfinished) for path in new]
        for signer in made:
            root.add_key(signer.public_key, Root.type)
        keys = make_online() if online else {}
        if online:
            _name(root, keys)
        signed = _signed(root, [*signers, *made], now)
        assert signed.signed.get_root_verification_result(
            before.signed, signed.signed_bytes, signed.signatures
        )
        if online:
            held = read_online(keys_file) if keys_file.exists() else dict.fromkeys(ONLINE, ())
            both = {role: (*_named(before.signed, role, held), *keys[role]) for role in ONLINE}
            write_online(keys_file, both)
            renew(folder, signed, both, now)
        unfinished.pop_all()  # from here on it may be that somebody has the root
        written = _write(folder, signed)
        if online:
            write_online(keys_file, keys)
            renew(folder, signed, keys, now)
        return written


def roots(place: Path) -> list[Rooted]:
    """List all roots, the newest last.

    Raises:
        SigningError: there is none, or one cannot be read.
    """
    folder = Folder(place)
    folder.root()
    return [_rooted(*folder.root_file(version)) for version in folder.versions(Root.type)]


def unfit(place: Path, keys_file: Path) -> str:
    """Say why the keys of the centre cannot sign; empty if they can."""
    root = Folder(place).root().signed
    try:
        held = read_online(keys_file)
    except SigningError as error:
        return str(error)
    others = [role for role in ONLINE if not _named(root, role, held)]
    if not others:
        return ""
    return f"root {root.version} names other keys than those of {keys_file} for {', '.join(others)}"


def _next(before: Root, drop: Sequence[str], threshold: int | None, new: int) -> Root:
    """Make the root after another, without the keys that are to go; ``new`` ones are to come."""
    root = deepcopy(before)
    root.version += 1
    for key in drop:
        if key not in root.roles[Root.type].keyids:
            raise SigningError(f"{key} is no root key: `fleet catalogue keys show` lists them")
        root.revoke_key(key, Root.type)
    asked = threshold if threshold is not None else root.roles[Root.type].threshold
    _check_threshold(asked, len(root.roles[Root.type].keyids) + new)
    root.roles[Root.type].threshold = asked
    return root


def _made(path: Path, unfinished: ExitStack) -> CryptoSigner:
    """Make a root key, which goes with what is not finished."""
    key = make_root(path)
    unfinished.callback(path.unlink)
    return key


def _name(root: Root, online: OnlineKeys) -> None:
    """Let these keys, and no others, sign for their roles."""
    for role in ONLINE:
        for keyid in list(root.roles[role].keyids):
            root.revoke_key(keyid, role)
        for signer in online[role]:
            root.add_key(signer.public_key, role)


def _named(root: Root, role: str, held: OnlineKeys) -> list[CryptoSigner]:
    """Pick the keys that ``root`` names; others were made by a rotation that was broken off."""
    return [key for key in held[role] if key.public_key.keyid in root.roles[role].keyids]


def _signed(root: Root, signers: Sequence[CryptoSigner], now: datetime) -> Metadata[Root]:
    root.expires = expiry(Root.type, now)
    signed = Metadata(root)
    for signer in signers:
        signed.sign(signer, append=True)
    return signed


def _check_threshold(threshold: int, keys: int) -> None:
    if not 1 <= threshold <= keys:
        raise SigningError(
            f"{threshold} of {keys} root keys cannot be asked to sign: from 1 to all"
        )


def _check_signers(
    before: Root, root: Root, signers: Sequence[CryptoSigner], paths: Sequence[Path], new: int
) -> None:
    """Refuse what a client that trusts ``before`` would, before any key is made."""
    given = {signer.public_key.keyid for signer in signers}
    for signer, path in zip(signers, paths, strict=True):
        if signer.public_key.keyid not in before.roles[Root.type].keyids:
            raise SigningError(f"{path} holds no key of root {before.version}: name one that does")
    for one, made in ((before, 0), (root, new)):
        role = one.roles[Root.type]
        if (signing := len(given.intersection(role.keyids)) + made) < role.threshold:
            raise SigningError(
                f"root {root.version} has to be signed by {role.threshold} keys of root "
                f"{one.version}, and {signing} would sign it: name more files with --root-key"
            )


def _write(folder: Folder, signed: Metadata[Root]) -> Rooted:
    data = signed.to_bytes(JSONSerializer(compact=True))
    name = f"{signed.signed.version}.root.json"
    if (folder.metadata / name).exists():
        raise SigningError(f"{folder.metadata / name} is there already: a root is never replaced")
    folder.place_metadata(name, data)
    folder.settle()
    return _rooted(signed, data)


def _rooted(signed: Metadata[Root], data: bytes) -> Rooted:
    root = signed.signed
    return Rooted(
        version=root.version,
        sha256=hashlib.sha256(data).hexdigest(),
        threshold=root.roles[Root.type].threshold,
        keys={role: tuple(root.roles[role].keyids) for role in (Root.type, *ONLINE)},
        expires=root.expires,
    )
