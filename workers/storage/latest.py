"""The switch of a dataset's latest set on a storage that replaces objects on a condition.

Rules this module keeps (see ``fleet.planning.latest`` for the manifest and what may follow it):

- Nothing is written before every file of the set was found at its own path, and every name is
  ours to write.
- The set is switched by the manifest, in one write, on the condition that it is the one that was
  decided upon, on a service that was seen to heed conditions.  The bare names follow it, one by
  one, and those that it left are removed last.
- They follow the manifest that is there, whoever wrote it: so whatever was begun is finished by
  the next attempt, and one that was overtaken helps on what overtook it.
- A bare name is replaced only if it is what it was before the manifest was seen to be still there;
  what slips through all the same is put right by whoever did it, at its next look.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from fleet.planning import latest
from fleet.planning.latest import Claimed, File, Manifest, Refused, bare, place
from workers.lease import Lease
from workers.storage.contract import (
    Absent,
    Changed,
    Corrupt,
    StorageError,
    Stored,
    Switchable,
    Taken,
    Unfit,
    alike,
)

NO_TAG: Final = "0" * 32  # that nothing has
TRIES: Final = 8  # each lost one means that another attempt at the same thing got on


def switch(storage: Switchable, order: Manifest, lease: Lease) -> Manifest:
    """Have ``order`` be its dataset's latest set; return the manifest that the bare names follow.

    Raises:
        Absent: a file of it does not lie at its own path.
        Corrupt: a file of it is not what it should be.
        Taken: a name of it is not ours.
        Unfit: it cannot be, for a newer one is there; or the service knows no conditions.
        StorageError: it was not done, or not to the end; the next attempt goes on.
        Stopped: the lease ended; likewise.
    """
    try:
        latest.check(order)
    except Refused as error:
        raise Unfit(str(error)) from error
    for file in order.files.values():
        _verify(storage, file, lease)
    for _ in range(TRIES):
        current = _current(storage, order.dataset)
        manifest = _decide(storage, order, current, lease)
        if current is not None and manifest == current.manifest:
            break
        lease.check_live()
        _try_conditions(storage, manifest, current)
        try:
            tag = None if current is None else current.tag
            storage.swap(place(order.dataset), latest.encode(manifest), tag)
        except Changed:
            continue
        break
    else:
        raise StorageError(f"{order.title}: {place(order.dataset)} is changed all the time")
    return follow(storage, order.dataset, lease)


def follow(storage: Switchable, dataset: str, lease: Lease) -> Manifest:
    """Have the bare names be what a dataset's manifest says; return it.

    Raises:
        Absent: there is no manifest.
        Taken: a name is in another dataset's too, since both were switched at once.
        StorageError: they are not, or not all; the next attempt goes on.
        Stopped: the lease ended; likewise.
    """
    for _ in range(TRIES):
        current = _current(storage, dataset)
        if current is None:
            raise Absent(f"{place(dataset)} is not there")
        manifest = current.manifest
        theirs = {name: other.title for other in _others(storage, dataset) for name in other.files}
        for name in sorted(manifest.files.keys() & theirs.keys()):
            raise Taken(f"{bare(name)} is in two sets: {manifest.title} and {theirs[name]}")
        try:
            for name, file in sorted(manifest.files.items()):
                _bring(storage, name, file, current, lease)
            for name in manifest.gone:
                if name not in theirs:
                    _remove(storage, name, current, lease)
            current.check(storage)
        except _Overtaken:
            continue
        return manifest
    raise StorageError(f"{place(dataset)} is changed all the time; its bare names lag behind")


class _Overtaken(Exception):
    """Another manifest is there by now."""


@dataclass(frozen=True, slots=True)
class _Current:
    """The manifest that was there, and its tag."""

    manifest: Manifest
    tag: str

    def check(self, storage: Switchable) -> None:
        """Return if it still is.

        Raises:
            _Overtaken: it is not.
        """
        found = storage.stat(place(self.manifest.dataset))
        if found is None or found.tag != self.tag:
            raise _Overtaken


def _current(storage: Switchable, dataset: str) -> _Current | None:
    path = place(dataset)
    found = storage.fetch(path)
    if found is None:
        return None
    try:
        manifest = latest.decode(found[0])
    except Refused as error:
        raise Taken(f"{path}: {error}") from error
    if manifest.dataset != dataset:
        raise Taken(f"{path} is the manifest of {manifest.dataset}")
    return _Current(manifest, found[1])


def _others(storage: Switchable, dataset: str) -> Iterator[Manifest]:
    """Give the manifests of all other datasets."""
    for one in storage.list(f"{latest.FOLDER}/{latest.MANIFESTS}"):
        name = one.path.rpartition("/")[2].removesuffix(".json")
        if name != dataset and (found := _current(storage, name)) is not None:
            yield found.manifest


def _decide(
    storage: Switchable, order: Manifest, current: _Current | None, lease: Lease
) -> Manifest:
    """Decide what the manifest is to be, by what lies under names that it does not have yet."""
    before = current.manifest if current is not None else None
    ours, gone = (before.files, before.gone) if before is not None else ({}, ())
    there = {}
    for name in sorted((order.files.keys() | {*gone}) - ours.keys()):
        lease.check()
        found = storage.stat(bare(name))
        if found is not None:
            wanted = order.files.get(name)
            there[name] = wanted is not None and _is(storage, found, wanted, lease)
    others = list(_others(storage, order.dataset))
    try:
        return latest.successor(order, before, others, there)
    except Claimed as error:
        raise Taken(str(error)) from error
    except Refused as error:
        raise Unfit(str(error)) from error


def _try_conditions(storage: Switchable, manifest: Manifest, current: _Current | None) -> None:
    """Let a service show that it heeds conditions, by one that cannot hold.

    Raises:
        Unfit: it does not: what it has is what it had.
    """
    path = place(manifest.dataset)
    try:
        before = manifest if current is None else current.manifest
        storage.swap(path, latest.encode(before), NO_TAG)
    except Changed:
        return
    if current is None:
        storage.remove(path)
    raise Unfit(f"{path} cannot be switched: the service takes no notice of conditions")


def _verify(storage: Switchable, file: File, lease: Lease) -> None:
    lease.check()
    found = storage.stat(file.path)
    if found is None:
        raise Absent(f"{file.path} is not there; nothing was changed")
    if not _is(storage, found, file, lease):
        raise Corrupt(f"{file.path} is not what the set has; nothing was changed")


def _bring(storage: Switchable, name: str, file: File, current: _Current, lease: Lease) -> None:
    """Have a file under its bare name."""
    path, wanted = bare(name), _wanted(file)
    for _ in range(TRIES):
        lease.check()
        found = storage.stat(path)
        if found is not None and alike(found, wanted):
            return
        current.check(storage)  # after the look: who wrote it since then wrote a later tag
        lease.check_live()
        try:
            storage.copy(wanted, path, None if found is None else found.tag, lease)
        except Changed:
            continue
    raise Corrupt(f"{path} does not become what {file.path} is")


def _remove(storage: Switchable, name: str, current: _Current, lease: Lease) -> None:
    """Have nothing under a bare name."""
    lease.check()
    if storage.stat(bare(name)) is None:
        return
    current.check(storage)
    lease.check_live()
    storage.remove(bare(name))


def _is(storage: Switchable, found: Stored, file: File, lease: Lease) -> bool:
    """Whether what was found is a file; it is read where the service knows no digest of it."""
    told = alike(found, _wanted(file))
    if told is not None:
        return told
    digest = hashlib.sha256()
    for block in storage.read(found.path):
        lease.check()
        digest.update(block)
    return digest.hexdigest() == file.sha256


def _wanted(file: File) -> Stored:
    return Stored(file.path, file.size, file.sha256, file.md5)
