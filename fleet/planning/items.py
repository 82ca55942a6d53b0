"""Which item of the Archive holds a path, and under what name: pure, and the same for ever.

Rules this module keeps:

- One item holds one version of a dataset: what readers cite and download as a whole, and what the
  Archive moves as a whole.  ``DATASET/VERSION/PATH`` lies in the item ``PREFIX_DATASET_VERSION`` as
  ``PATH``; folders within an item are taken as they are.
- Two folders never share an item.  Only names of ``[a-z0-9.-]`` are used as they are, joined by a
  sign that they cannot have; all others are told apart by a digest, and so are those that differ
  by upper and lower case only, or would be too long.
- The Archive keeps files of its own in each item.  They are no content, and nothing takes a name
  of theirs.
"""

import hashlib
import re
import unicodedata
from collections.abc import Sequence
from typing import Final

MOST: Final = 100  # signs in an identifier
FOLDERS: Final = 2  # that an item stands for: the dataset and the version
_PLAIN: Final = re.compile(r"[a-z0-9.-]+")
_OTHER: Final = re.compile(r"[^a-z0-9.-]+")
_DIGEST: Final = 16
_OWN: Final = ("_meta.xml", "_files.xml", "_meta.sqlite", "_reviews.xml", "_archive.torrent")


def locate(prefix: str, names: Sequence[str]) -> tuple[str, str]:
    """Return the item and the name in it of a path, which is given in its segments."""
    within = min(FOLDERS, len(names) - 1)
    return identifier(prefix, names[:within]), "/".join(names[within:])


def identifier(prefix: str, folder: Sequence[str]) -> str:
    """Name the item that a folder lies in."""
    plain = "_".join((prefix, *folder))
    if len(plain) <= MOST and all(_PLAIN.fullmatch(name) for name in folder):
        return plain
    digest = hashlib.sha256("/".join(folder).encode()).hexdigest()[:_DIGEST]
    letters = unicodedata.normalize("NFKD", "-".join(folder)).lower()
    said = _OTHER.sub("-", letters.encode("ascii", "ignore").decode())
    room = MOST - len(prefix) - len(digest) - 3
    return f"{prefix}__{said[:room]}_{digest}"  # two of what joins: no plain name has that


def is_own(item: str, name: str) -> bool:
    """Whether a name within an item is for the Archive itself to use."""
    first = name.partition("/")[0]
    return first in {"history", "__ia_thumb.jpg"} or name in {item + own for own in _OWN}
