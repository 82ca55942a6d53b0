"""Outcomes on disk until the centre has them.

Rules this module keeps:

- An outcome is written, with its blobs, before anything is sent; it is removed once the centre
  applied or refused it.  A crash in between sends it again, which is harmless.
- What the centre refuses is kept aside with its reason: it holds evidence.
"""

import fcntl
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import structlog

from fleet.messages import Outcome
from workers.centre import Centre, CentreRefused

_log = structlog.get_logger()


class Spool:
    """A folder of outcomes that wait to be sent."""

    def __init__(self, folder: Path) -> None:
        """Open the spool in ``folder``, which is made if it is missing."""
        self.folder = folder
        self._blobs = folder / "blobs"
        self._refused = folder / "refused"
        for one in (self._blobs, self._refused):
            one.mkdir(parents=True, exist_ok=True)

    def put(self, outcome: Outcome, blobs: Mapping[str, bytes]) -> None:
        """Keep an outcome and the blobs that it names."""
        for name, data in blobs.items():
            _write(self._blobs / name, data)
        _write(self.folder / f"{outcome.attempt}.json", outcome.model_dump_json().encode())

    def flush(self, centre: Centre) -> int:
        """Send what waits, oldest first; return how many the centre took.

        Raises:
            CentreAway: it cannot be reached; what was not sent yet is still here.
        """
        taken = 0
        with (self.folder / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            for path in sorted(self.folder.glob("*.json"), key=_written):
                taken += self._send(path, centre)
        return taken

    def _send(self, path: Path, centre: Centre) -> bool:
        outcome = Outcome.model_validate_json(path.read_bytes())
        refs = [item.pieces for item in outcome.items if item.pieces]
        names = {ref.sha256 for ref in (*refs, outcome.pieces) if ref}
        try:
            for name in sorted(names):
                centre.put_blob(name, (self._blobs / name).read_bytes())
            verdict = centre.report(outcome)
        except CentreRefused as error:
            _log.warning("outcome refused", attempt=outcome.attempt, reason=str(error))
            path.replace(self._refused / path.name)
            note = json.dumps({"attempt": outcome.attempt, "reason": str(error)}).encode()
            _write(self._refused / f"{path.stem}.reason", note)
            return False
        _log.info("reported", attempt=outcome.attempt, reason=verdict.reason)
        path.unlink()
        for name in names:
            with suppress(FileNotFoundError):
                (self._blobs / name).unlink()
        return True


def _written(path: Path) -> int:
    return path.stat().st_mtime_ns


def _write(path: Path, data: bytes) -> None:
    """Write a file so that it is whole or not there, also after a power cut."""
    new = path.with_name(f".{path.name}.{os.getpid()}")
    with new.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
