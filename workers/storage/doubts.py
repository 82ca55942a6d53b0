"""Corrupt files that are left in their places, so that they may be mended there.

Rules this module keeps:

- A file in doubt is given to nobody as a file; BitTorrent, which proves each piece, may serve on
  what is good of it.
- A doubt outlives whoever raised it: it is a note below ``.quarantine``, which stays when a verify
  is stopped or killed, until a reading finds the file right or puts it away.
- It is about one inode: a file that was put in the place of another is not in doubt.
"""

import hashlib
import os
from pathlib import Path

from workers.storage.posix import sync


class Doubts:
    """The doubts about files below ``root``."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._notes = root / ".quarantine" / "doubted"

    def put(self, path: Path, why: str) -> None:
        """Doubt the file at ``path`` from now on, after a crash as well.

        Raises:
            OSError: it cannot be noted.
        """
        self._notes.mkdir(parents=True, exist_ok=True)
        note = self._note(path)
        about = f"{path.lstat().st_ino}\n{path.relative_to(self._root)}\n{why}\n"
        note.write_text(about, encoding="utf-8")
        sync(note)
        sync(self._notes)

    def lift(self, path: Path) -> None:
        """Doubt it no more; nothing happens if it was not in doubt.

        Raises:
            OSError: the note cannot be removed.
        """
        self._note(path).unlink(missing_ok=True)

    def about(self, path: Path, inode: int) -> bool:
        """Whether the file that was opened at ``path`` is in doubt; if that cannot be read, it is.

        Args:
            path: below ``root``.
            inode: of what was opened.
        """
        try:
            first, whole, _ = self._note(path).read_text(encoding="utf-8").partition("\n")
        except FileNotFoundError:
            return False
        except (OSError, UnicodeError):
            return True
        return not whole or first == str(inode)

    def _note(self, path: Path) -> Path:
        name = hashlib.sha256(os.fsencode(path.relative_to(self._root))).hexdigest()
        return self._notes / name
