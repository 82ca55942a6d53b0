"""`fleet up`, as a person starts and stops it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.running_fleet import children


@pytest.mark.timeout(120)
def test_it_starts_everything_says_where_the_page_is_and_stops_cleanly_on_ctrl_c(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    home = tmp_path_factory.mktemp("u")
    env = os.environ | {"FLEET_HOME": str(home)}
    command = [sys.executable, "-m", "fleet", "up"]
    up = subprocess.Popen(
        command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert up.stdout is not None
    said = ""
    while "server: ready" not in said:
        line = up.stdout.readline()
        assert line, f"it ended: {said}"
        said += line
    assert "http://127.0.0.1:" in said
    second = subprocess.run(
        command, env=env, capture_output=True, text=True, timeout=60, check=False
    )
    assert second.returncode == 1
    assert "already" in second.stderr
    started = _descendants(up.pid)
    up.send_signal(2)
    rest, _ = up.communicate(timeout=60)
    assert up.returncode == 0, rest
    assert str(home) in rest
    root_key = home / "catalogue-root-key.pem"
    assert str(root_key) in rest
    assert root_key.stat().st_mode & 0o777 == 0o600
    assert (home / "catalogue" / "metadata" / "1.root.json").exists()
    assert len(started) > 10
    assert not [pid for pid in started if Path(f"/proc/{pid}/cmdline").exists()]


def _descendants(pid: int) -> list[int]:
    found = children(pid)
    return found + [below for one in found for below in _descendants(one)]
