"""Which set of files a dataset's bare names serve, and what may follow what.

::

    processed/latest/DATASET.json    the manifest: the one object that says which set is the latest
    processed/NAME                   its files by their bare names, of all datasets in one folder
    DATASET/VERSION/PATH             where a version's files lie for good

Rules this module keeps:

- A manifest names a whole set at paths whose bytes never change, so that whoever goes by it sees
  one version, whatever becomes of the bare names meanwhile.
- Its sequence only rises: an older version never replaces a newer one.
- A name belongs to the dataset whose manifest has it, and after that until nothing lies there any
  more.  What lies under a bare name and belongs to nobody is not ours to replace.
- What a set no longer has, its manifest remembers (``gone``), so that whoever comes upon it can
  finish what another began.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

FOLDER: Final = "processed"
MANIFESTS: Final = "latest"
MOST: Final = 10_000  # files of a set
_SHA256 = re.compile(r"[0-9a-f]{64}")
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
_MD5 = re.compile(r"[0-9a-f]{32}")


class Refused(ValueError):
    """It may not be the latest set; the message says why."""


class Claimed(Refused):
    """A name in it is somebody else's."""


@dataclass(frozen=True, slots=True)
class File:
    """A file of a set, at the path that is its version's own."""

    path: str
    size: int
    sha256: str
    md5: str | None = None


@dataclass(frozen=True, slots=True)
class Manifest:
    """A dataset's latest set: its files by their bare names, and the names that it left."""

    dataset: str
    version: str
    sequence: int
    files: Mapping[str, File]
    gone: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """What to call it."""
        return f"{self.dataset} {self.version}"

    @property
    def names(self) -> frozenset[str]:
        """The names that are its dataset's to write and to remove."""
        return frozenset((*self.files, *self.gone))


def bare(name: str) -> str:
    """Say where a file lies by its bare name."""
    return f"{FOLDER}/{name}"


def place(dataset: str) -> str:
    """Say where a dataset's manifest lies; no bare name has a slash, so none can lie there."""
    return f"{FOLDER}/{MANIFESTS}/{dataset}.json"


def bare_name(path: str) -> str:
    """Say by what bare name a file of a version is served; empty if it lies in another folder."""
    name = path.removeprefix(bare(""))
    return "" if "/" in name else name


def set_of(dataset: str, version: str, sequence: int, files: Iterable[File]) -> Manifest:
    """Make the set of a version of its data, by those of them that have bare names.

    Raises:
        Refused: it has none, or they cannot be a set.
    """
    own, found = f"{dataset}/{version}/", dict[str, File]()
    for file in files:
        name = bare_name(file.path.removeprefix(own))
        if name in found:
            raise Refused(f"{found[name].path} and {file.path} would both be {bare(name)}")
        if name:
            found[name] = file
    if not found:
        raise Refused(f"{version} has no data that lie in no folder, or in {bare('')} alone")
    if len(found) > MOST:
        raise Refused(f"{version} would have {len(found):,} bare names, more than {MOST:,}")
    made = Manifest(dataset, version, sequence, found)
    check(made)
    return made


def check(order: Manifest) -> None:
    """Refuse a set that cannot be one.

    Raises:
        Refused: it cannot.
    """
    if not order.files:
        raise Refused(f"{order.title} has no files, so that it cannot be the latest set")
    if not order.dataset or "/" in order.dataset or order.dataset == FOLDER:
        raise Refused(f"a dataset called {order.dataset!r} has no place below {FOLDER}/")
    for name in order.names:
        if not name or "/" in name or name == MANIFESTS:
            raise Refused(f"{name!r} of {order.title} cannot be a name in {FOLDER}/")
    own = f"{order.dataset}/{order.version}/"
    for name, file in order.files.items():
        if not file.path.startswith(own):
            raise Refused(f"{name} of {order.title} lies at {file.path}, which is not below {own}")
        if not _SHA256.fullmatch(file.sha256) or not _MD5.fullmatch(file.md5 or "0" * 32):
            raise Refused(f"{name} of {order.title} has digests that are none")


def successor(
    order: Manifest,
    current: Manifest | None,
    others: Iterable[Manifest],
    there: Mapping[str, bool],
) -> Manifest:
    """Decide what the manifest is to be; the current one, where only its names are to follow.

    Args:
        order: what is to be the latest set.
        current: the dataset's manifest; None if it has none.
        others: those of all other datasets.
        there: of the names in ``order`` and of those that ``current`` left, the ones that
            something lies under, and whether it is the very file that ``order`` has.

    Raises:
        Claimed: a name is another dataset's, or nobody's.
        Refused: it is older than the current one, or another set of the same sequence.
    """
    if current is not None and order.sequence <= current.sequence:
        if (order.sequence, order.version, order.files) == (
            current.sequence,
            current.version,
            current.files,
        ):
            return current
        raise Refused(
            f"{order.title} (sequence {order.sequence}) cannot be the latest set: "
            f"{current.version} (sequence {current.sequence}) is"
        )
    ours = current.names if current is not None else frozenset()
    for other in others:
        for name in sorted(other.names & order.files.keys()):
            if name in other.files or name in there:
                raise Claimed(f"{name} of {order.title} belongs to {other.title}")
    for name in sorted(order.files.keys() - ours):
        if there.get(name) is False:
            raise Claimed(
                f"{bare(name)} has other bytes than {order.title}, and belongs to no set; "
                f"move it away first"
            )
    left = (ours - order.files.keys()) & ({*there} | (current.files.keys() if current else set()))
    return Manifest(order.dataset, order.version, order.sequence, order.files, tuple(sorted(left)))


def encode(manifest: Manifest) -> bytes:
    """Write a manifest down: the same always in the same bytes."""
    return (json.dumps(asdict(manifest), sort_keys=True, ensure_ascii=False) + "\n").encode()


def decode(data: bytes) -> Manifest:
    """Read a manifest.

    Raises:
        Refused: it is none.
    """
    try:
        said: dict[str, Any] = json.loads(data)
        files = {name: File(**file) for name, file in said["files"].items()}
        found = Manifest(**said | {"files": files, "gone": tuple(said["gone"])})
        if not isinstance(found.sequence, int):
            raise Refused(f"{found.sequence!r} is no sequence")
        if not isinstance(found.version, str) or not _LABEL.fullmatch(found.version):
            raise Refused(f"{found.version!r} is no version's label")
        check(found)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise Refused(f"it is no manifest of a latest set: {error}") from error
    return found
