"""What the tests of `fleet torrent …` share: how it ended, and files to try it on."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from fleet.cli import main as cli
from tests.cli_support import Ended

Run = Callable[..., Ended]


def runner(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """What runs `fleet torrent …` in a folder."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*words: str | Path) -> Ended:
        monkeypatch.setattr(sys, "argv", ["fleet", "torrent", *(str(word) for word in words)])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        return Ended(int(caught.value.code or 0), *capsys.readouterr())

    return run


def refused(run: Run, words: list[str | Path], *said: str, code: int = 1) -> None:
    """It ends with one line that says these, and nothing is written."""
    before = sorted(Path().iterdir())
    ended = run(*words)
    assert (ended.code, ended.out) == (code, ""), ended
    assert ended.err.startswith("fleet: ")
    assert ended.err.count("\n") == 1, ended.err
    assert all(word in ended.err for word in said), ended.err
    assert sorted(Path().iterdir()) == before


def written(root: Path, **files: bytes) -> Path:
    """A folder with these files; `__` in a name is a slash, and `_` a dot."""
    for name, body in files.items():
        path = root / name.replace("__", "/").replace("_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
    return root
