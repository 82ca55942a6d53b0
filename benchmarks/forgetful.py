"""A disk that forgets: what a power cut leaves of files that were written but not synced.

Rules this module keeps:

- Durable of a file is what it held when it was last synced (fsync or fdatasync): a copy of it is
  kept, by inode, before the sync returns.  A block that another thread writes during the copying
  may or may not be in it, as on a real disk.
- Names are as they were at the end: file systems write them back when they like.
- A page that was not synced may have reached the disk or not.  ``lost``: none did, each holds
  what was last synced or zeros.  ``garbled``: small files, such as journals, did reach it; of a
  large file's pages half did, the others hold rubbish.
"""

import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Literal

from workers.pull import journal

Kind = Literal["lost", "garbled"]
PAGE = 4096
SMALL = 1024 * 1024
BOOT = "boot"


def watch_syncs(root: Path, durable: Path, boot: str) -> None:
    """Keep in ``durable``, from now on, what this process syncs of the files below ``root``.

    The engine is told that this start of the machine is called ``boot``.
    """
    lock = threading.Lock()

    def watched(sync: Callable[[int], None]) -> Callable[[int], None]:
        def synced(descriptor: int) -> None:
            sync(descriptor)
            with lock:
                _keep(root, durable, descriptor)

        return synced

    os.fsync, os.fdatasync = watched(os.fsync), watched(os.fdatasync)  # type: ignore[assignment]
    journal.BOOT_ID = durable / BOOT
    journal.BOOT_ID.write_text(boot, encoding="ascii")


def cut_power(root: Path, durable: Path, kind: Kind, dice: Random) -> None:
    """Leave of the files below ``root`` what a disk would have kept."""
    for path in sorted(root.rglob("*")):
        if path.is_symlink() or not path.is_file():
            continue
        kept = durable / str(path.stat().st_ino)
        if kind == "lost" or path.stat().st_size > SMALL:
            _forget(path, kept if kept.exists() else Path(os.devnull), kind, dice)


def _keep(root: Path, durable: Path, descriptor: int) -> None:
    """Copy a file as it is now; one that is not whole when we are killed does not count."""
    link = Path(f"/proc/self/fd/{descriptor}")
    if not link.is_file() or root not in link.readlink().parents:
        return
    kept = durable / str(os.fstat(descriptor).st_ino)
    fresh = kept.with_suffix(".new")
    shutil.copyfile(link, fresh)
    fresh.replace(kept)


def _forget(path: Path, kept: Path, kind: Kind, dice: Random) -> None:
    """Put the pages of a file that were not synced back to what the disk has of them."""
    with path.open("r+b") as file, kept.open("rb") as synced:
        while now := file.read(PAGE):
            then = synced.read(PAGE)[: len(now)].ljust(len(now), b"\0")
            if now == then or (kind == "garbled" and dice.random() < 0.5):
                continue
            file.seek(-len(now), os.SEEK_CUR)
            file.write(then if kind == "lost" else _garbled(now, then, dice))


def _garbled(now: bytes, then: bytes, dice: Random) -> bytes:
    """Put rubbish where a page changed since it was synced; its synced ends are on the disk."""
    changed = int.from_bytes(now, "big") ^ int.from_bytes(then, "big")
    start = len(now) - -(-changed.bit_length() // 8)
    end = len(now) - ((changed & -changed).bit_length() - 1) // 8
    return now[:start] + dice.randbytes(end - start) + now[end:]
