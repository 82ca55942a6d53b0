"""The folder that a catalogue is synced into.

``current`` is a link to the files of one state, and ``trusted`` is what python-tuf remembers so
that nobody can lead it back.

Rules this module keeps:

- A state appears when every byte of it is there, checked and on the disk.
- The state before it stays, for whoever is reading it.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fleet.catalogue.whole import PART, alone, remove, replacing, settle


class Home:
    """A folder of that kind.

    Attributes:
        current: where the files are, once there are any.
        trusted: python-tuf's memory.
        begun: the root that it was begun with.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.current = root / "current"
        self.trusted = root / "trusted"
        self.begun = root / "root.json"
        self._states = root / "states"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep others out, and clear away what one that was killed left.

        Raises:
            BlockingIOError: somebody is in it.
        """
        self._states.mkdir(parents=True, exist_ok=True)
        with alone(self.root):
            for path in self._states.glob(f"*{PART}"):
                remove(path)
            yield

    def state(self) -> str:
        """Name the state that is there; empty if there is none."""
        with suppress(OSError):
            name = self.current.readlink().name
            return name if (self._states / name).is_dir() else ""
        return ""

    def begin(self, root: bytes) -> None:
        """Keep the root that was trusted first."""
        if not self.begun.exists():
            with replacing(self.begun) as file:
                file.write(root)

    @contextmanager
    def mending(self, path: str) -> Iterator[Path]:
        """Lend a file that then takes the place of one of the current state."""
        place, beside = self.current / path, self._states / f"mended{PART}"
        yield beside
        place.parent.mkdir(parents=True, exist_ok=True)
        beside.replace(place)

    @contextmanager
    def gathering(self, name: str) -> Iterator[Path]:
        """Lend a folder for the files of a state; have it be the current one when all are there."""
        folder, before = self._states / f"{name}{PART}", self.state()
        folder.mkdir()
        yield folder
        for below, _, _ in os.walk(folder):
            settle(Path(below))
        if (self._states / name).exists():  # it never came to be the current one, or was before
            shutil.rmtree(self._states / name)
        folder.replace(self._states / name)
        settle(self._states)
        link = self.root / f".current{PART}"
        link.unlink(missing_ok=True)
        link.symlink_to(Path(self._states.name, name))
        link.replace(self.current)
        settle(self.root)
        for path in self._states.iterdir():
            if path.name not in {name, before}:
                remove(path)
