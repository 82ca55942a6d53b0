"""Outcomes on disk until the centre has them.

Rules this module keeps:

- An outcome is written, after its blobs, before anything is sent; it is removed once the centre
  applied or refused it.  A crash in between sends it again, which is harmless.
- Each has its blobs to itself, ``{attempt}.blobs/`` beside ``{attempt}.json``: what is done with
  one concerns no other.
- What the centre refuses or nobody can read is kept aside with its reason: it holds evidence.
- One that the centre cannot take now goes to the end of the queue; it blocks no other.
- Any number of processes put, one at a time sends, and nobody who puts waits for the network.
"""

import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import structlog
from pydantic import ValidationError

from fleet.messages import Outcome
from workers.centre import Centre, CentreAway, CentreFailed, CentreRefused

_log = structlog.get_logger()


class Spool:
    """A folder of outcomes that wait to be sent."""

    def __init__(self, folder: Path) -> None:
        """Use the spool in ``folder``, which is made when it is needed."""
        self.folder = folder
        self._refused = folder / "refused"

    def put(self, outcome: Outcome, blobs: Mapping[str, bytes]) -> None:
        """Keep an outcome and the blobs that it names."""
        path = self.folder / f"{outcome.attempt}.json"
        with self._changing():
            for name, data in blobs.items():
                _write(_blobs(path) / name, data)
            _write(path, outcome.model_dump_json().encode())

    def flush(self, centre: Centre) -> int:
        """Send what waits, oldest first; return how many the centre took.

        Returns:
            0 also when another process is sending.

        Raises:
            CentreAway: it answered nothing that helps; what was not sent is still here.
            OSError: nothing could be sent, because the disk failed.
        """
        with _locked(self.folder / ".sending", wait=False) as mine:
            return self._flush(centre) if mine else 0

    def _flush(self, centre: Centre) -> int:
        self._sweep()
        taken, heard = 0, False
        fault: CentreFailed | OSError | None = None
        for path in sorted(self.folder.glob("*.json"), key=_written):
            try:
                taken += self._send(path, centre)
            except (CentreFailed, OSError) as error:
                _to_the_end(path)
                fault = fault or error
            except CentreAway:
                _to_the_end(path)  # the centre may be away because of it
                raise
            else:
                heard = True
        if fault and not heard:
            raise fault
        return taken

    def _send(self, path: Path, centre: Centre) -> bool:
        """Send one outcome; False when it was set aside instead."""
        try:
            outcome, blobs = _read(path)
        except (ValidationError, FileNotFoundError) as error:
            self._set_aside(path, f"it cannot be read: {error}")
            return False
        try:
            for name, data in blobs.items():
                centre.put_blob(name, data)
            verdict = centre.report(outcome)
        except CentreRefused as error:
            self._set_aside(path, str(error))
            return False
        _log.info("reported", attempt=outcome.attempt, reason=verdict.reason)
        with self._changing():
            path.unlink()
            shutil.rmtree(_blobs(path), ignore_errors=True)
        return True

    def _set_aside(self, path: Path, reason: str) -> None:
        _log.warning("outcome set aside", attempt=path.stem, reason=reason)
        note = json.dumps({"attempt": path.stem, "reason": reason}).encode()
        with self._changing():
            _write(self._refused / f"{path.stem}.reason", note)
            if _blobs(path).exists():
                shutil.rmtree(self._refused / _blobs(path).name, ignore_errors=True)
                _blobs(path).replace(self._refused / _blobs(path).name)
            path.replace(self._refused / path.name)

    def _sweep(self) -> None:
        """Remove what a process that died while it changed something left behind."""
        with self._changing():
            for folder in self.folder.glob("*.blobs"):
                if not folder.with_suffix(".json").exists():
                    shutil.rmtree(folder, ignore_errors=True)

    @contextmanager
    def _changing(self) -> Iterator[None]:
        with _locked(self.folder / ".lock", wait=True):
            yield


@contextmanager
def _locked(path: Path, *, wait: bool) -> Iterator[bool]:
    """Hold a lock between processes and threads; yield whether it is held."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def _blobs(path: Path) -> Path:
    """Name the folder of the blobs of the outcome at ``path``."""
    return path.with_suffix(".blobs")


def _read(path: Path) -> tuple[Outcome, dict[str, bytes]]:
    outcome = Outcome.model_validate_json(path.read_bytes())
    refs = [ref for item in outcome.items for ref in (item.pieces, item.layer, item.parts)]
    names = {ref.sha256 for ref in (*refs, outcome.pieces) if ref}
    return outcome, {name: (_blobs(path) / name).read_bytes() for name in sorted(names)}


def _written(path: Path) -> int:
    return path.stat().st_mtime_ns


def _to_the_end(path: Path) -> None:
    with suppress(OSError):
        os.utime(path)


def _write(path: Path, data: bytes) -> None:
    """Write a file so that it is whole or not there, also after a power cut."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.new")
    with new.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
