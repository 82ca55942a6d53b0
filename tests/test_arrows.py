"""The arrows between the rooms of the house: imports run one way."""

import subprocess
import sys
from pathlib import Path

TREE = Path(__file__).resolve().parents[1]
LINTER = "import sys; from importlinter.cli import lint_imports_command as lint; sys.exit(lint())"


def test_imports_run_one_way() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LINTER, "--no-cache"],
        cwd=TREE,
        env={"PYTHONPATH": str(TREE)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout
