"""Where the real answers, lists and torrents lie that tests read, and the mark that wants them."""

from pathlib import Path

import pytest


def _data() -> Path:
    """The nearest folder ``shared/data`` beside this tree, or above it."""
    above = Path(__file__).resolve().parents[1:]
    here = (folder / "shared" / "data" for folder in above)
    return next((path for path in here if path.is_dir()), above[0] / "shared" / "data")


DATA = _data()
wanted = pytest.mark.skipif(not DATA.is_dir(), reason="the real data are not here")


def real(name: str) -> bytes:
    """The bytes of one of them; skips the test where they are not."""
    if not DATA.is_dir():
        pytest.skip("the real data are not here")
    return (DATA / name).read_bytes()
