"""What goes into a record of a repository: all of a version's data, or what leads to them.

Rules this module keeps:

- Nothing is begun that cannot be ended: sizes, numbers and names are held against the
  repository's limits before the first byte is sent.
- Every version gets its record.  One that is too large for it goes there as its papers: manifest,
  checksums, torrents, the list of its mirrors.
"""

from collections.abc import Sequence
from dataclasses import dataclass

Sizes = Sequence[tuple[str, int]]
"""Names and sizes of files."""


@dataclass(frozen=True, slots=True)
class RecordLimits:
    """What one record may hold; Zenodo's, where nothing else is said."""

    size: int = 50 * 10**9
    files: int = 100
    key: int = 255


def unfit(files: Sizes, limits: RecordLimits) -> str:
    """Say why files do not go into one record; nothing where they do."""
    names = [name for name, _ in files]
    for name in names:
        odd = name in {"", ".", ".."} or not name.isprintable() or "\\" in name
        if odd or len(name) > limits.key:
            return f"{name[:80]!r} is no name that a record's file may have"
    if len(set(names)) < len(names):
        return "two files have one name"
    if not names:
        return "there is no file, and no record without one"
    if len(names) > limits.files:
        return f"there are {len(names):,} files, and a record takes {limits.files:,}"
    size = sum(size for _, size in files)
    if size > limits.size:
        return f"there are {size:,} bytes, and a record takes {limits.size:,}"
    return ""


def first_fit(choices: Sequence[Sizes], limits: RecordLimits) -> tuple[int | None, str]:
    """Take the first of several sets of files that goes into a record.

    Returns:
        Its number, or None if none fits; and why the first did not.
    """
    reasons = [unfit(files, limits) for files in choices]
    chosen = next((number for number, reason in enumerate(reasons) if not reason), None)
    return chosen, reasons[0]
