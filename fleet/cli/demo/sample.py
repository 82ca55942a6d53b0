"""Open data made on the spot, in the shape of a Canadian census package of about 200 MB.

Rules this module keeps:

- It is deterministic: the same seed and scale give the same bytes, as long as pyarrow and zlib
  stay the same.
- Files are hashed as they are written, and made one at a time.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

from fleet.cli.demo import large, small
from fleet.cli.demo.paths import ADDRESSES, BOUNDARIES, ORTHOIMAGERY, PROFILE

SEED = 2021

Contents = Iterator[tuple[str, Iterable[bytes]]]


@dataclass(frozen=True)
class SampleFile:
    """One file of the sample; ``path`` is relative to its folder, with forward slashes."""

    path: str
    size: int
    sha256: str


def make_sample(folder: Path, *, seed: int = SEED, scale: float = 1.0) -> list[SampleFile]:
    """Write the sample into ``folder``: four larger files and about 300 small ones.

    Args:
        folder: where to; what it holds under the same names is overwritten.
        seed: another seed makes other bytes under the same names.
        scale: factor of every file's size; their number stays.
    """
    return [_write(folder, path, chunks) for path, chunks in _contents(seed, scale)]


def _contents(seed: int, scale: float) -> Contents:
    def dice(path: str) -> Random:
        return Random(f"{seed}:{path}")  # noqa: S311 - what it makes up is no secret

    yield ORTHOIMAGERY, large.pmtiles(dice(ORTHOIMAGERY), scale)
    yield ADDRESSES, large.geoparquet(dice(ADDRESSES), scale)
    yield PROFILE, large.csv_zip(dice(PROFILE), scale)
    yield BOUNDARIES, large.boundary_zip(dice(BOUNDARIES), scale)
    for path, make in small.files():
        yield path, (make(dice(path), scale),)


def _write(folder: Path, path: str, chunks: Iterable[bytes]) -> SampleFile:
    target = folder / path
    target.parent.mkdir(parents=True, exist_ok=True)
    sha256 = hashlib.sha256()
    size = 0
    with target.open("wb") as file:
        for chunk in chunks:
            file.write(chunk)
            sha256.update(chunk)
            size += len(chunk)
    return SampleFile(path, size, sha256.hexdigest())
