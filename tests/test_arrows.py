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


def test_a_program_without_a_store_loads_no_library_of_databases() -> None:
    program = "import sys, fleet.cli.main, fleet.cli.node; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert not {b"sqlalchemy", b"alembic", b"psycopg"} & set(done.stdout.split())
