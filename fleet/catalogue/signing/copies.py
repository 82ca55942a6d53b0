"""What a copy of the state that holds consists of: a folder of its own, from which clients sync.

Files have their plain names there, since a folder of one state gives no name to two of them.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tuf.api.metadata import Root

from fleet.catalogue.signing.errors import SigningError
from fleet.catalogue.signing.folder import Folder


@dataclass(frozen=True, slots=True)
class Copy:
    """A state that is to be copied.

    Attributes:
        state: its number.
        mark: what no other state is called, nor the same one that was signed anew.
        files: where each lies, by its path in the copy.
    """

    state: int
    mark: str
    files: dict[str, Path]


@contextmanager
def copied(place: Path) -> Iterator[Copy]:
    """Lend what the state of a repository folder consists of; nobody changes it meanwhile.

    Raises:
        SigningError: nothing was published, or it cannot be read.
    """
    folder = Folder(place)
    with folder.locked():
        yield _copy(folder)


def mark(place: Path) -> str:
    """Return the mark of the state that holds.

    Raises:
        SigningError: nothing was published, or it cannot be read.
    """
    return _copy(Folder(place)).mark


def _copy(folder: Folder) -> Copy:
    state, roots = folder.state(), folder.versions(Root.type)
    if state is None or not roots:
        raise SigningError(f"{folder.metadata} has no state yet")
    signed = [f"{one.signed.version}.{one.signed.type}" for one in (state.snapshot, state.targets)]
    names = [f"{name}.json" for name in ("timestamp", *signed, *(f"{one}.root" for one in roots))]
    files = {f"metadata/{name}": folder.metadata / name for name in names}
    files |= {
        path: folder.targets / target.get_prefixed_paths()[0]
        for path, target in state.targets.signed.targets.items()
    }
    number = state.snapshot.signed.version
    digest = hashlib.sha256((folder.metadata / "timestamp.json").read_bytes()).hexdigest()
    return Copy(number, f"{number} {roots[-1]} {digest}", files)
