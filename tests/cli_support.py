"""How a command that a test ran came to its end."""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fleet.cli import main as cli


@dataclass(frozen=True)
class Ended:
    """Its exit code, and what it printed."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Ended]


def runner(home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Give what runs a command as ``fleet`` would, with this home."""
    monkeypatch.setenv("FLEET_HOME", str(home))
    monkeypatch.setenv("COLUMNS", "200")

    def run(*words: str) -> Ended:
        monkeypatch.setattr(sys, "argv", ["fleet", *words])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        out, err = capsys.readouterr()
        return Ended(int(caught.value.code or 0), out, err)

    return run


def refused(ended: Ended, *said: str) -> None:
    """It ended with exit code 1, and one line that says these."""
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.startswith("fleet: ")
    assert ended.err.endswith("\n")
    assert ended.err.count("\n") == 1, ended.err
    assert all(word in ended.err for word in said), ended.err
