"""The table of the catalogue that a person means: of a synced folder, or synced for the purpose.

Rules this module keeps:

- Nothing is read of a table before its signatures and its bytes were checked, here and now.  It is
  the one of that state, whatever somebody else syncs meanwhile.
- Where no mirror of the catalogue answers, what was synced before serves; that is said.
"""

import re
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from fleet.catalogue.client import Home, Mirror, SyncError, Trust, verify_one
from fleet.cli.catalogue import words
from fleet.cli.catalogue.sync import synced_with_bar
from fleet.cli.text import clean
from fleet.control.errors import FleetError
from fleet.settings import CentreSettings

TABLE = "catalogue.parquet"
_SYNCED = "synced"


def table(given: Sequence[str], sha256: str, *, quiet: bool) -> Path:
    """Return a table that was checked.

    Args:
        given: a folder of ``fleet catalogue sync``, or the URLs of mirrors of one catalogue.
        sha256: of the root of whose catalogue the URLs are mirrors.
        quiet: whether to show no progress.

    Raises:
        FleetError: there is none that can be believed.
    """
    now = datetime.now(UTC)
    with words.refusing():
        home = (
            _synced(given, sha256, now, quiet=quiet) if _are_urls(given) else Home(Path(given[0]))
        )
        found = verify_one(home, TABLE, now)
    for fault in found.faults:
        raise FleetError(
            f"{clean(str(home.root))}: {fault.path}: {fault.reason}; "
            "`fleet catalogue sync` mends it"
        )
    if found.expired:
        _say("the catalogue has expired, so there may be newer versions: sync it again")
    return found.folder / TABLE


def _are_urls(given: Sequence[str]) -> bool:
    urls = [one for one in given if "://" in one]
    if urls and len(urls) < len(given):
        raise FleetError("--from names a folder and a URL: give one folder, or URLs alone")
    if not urls and len(given) > 1:
        raise FleetError("--from names several folders: give one of `fleet catalogue sync`")
    return bool(urls)


def _synced(urls: Sequence[str], sha256: str, now: datetime, *, quiet: bool) -> Home:
    """Sync from mirrors into a folder of this user's."""
    pinned = sha256.strip().lower().removeprefix("sha256:")
    if not re.fullmatch("[0-9a-f]{64}", pinned):
        raise FleetError(
            "a mirror of a catalogue is not believed by itself: give the SHA-256 of the root that "
            "its makers hand out with --root-sha256 HEX"
        )
    home = Home(CentreSettings().home / _SYNCED / pinned)
    home.root.mkdir(parents=True, exist_ok=True)
    mirrors = [Mirror.at(one) for one in urls]
    try:
        synced = synced_with_bar(home, mirrors, Trust(sha256=pinned), now, quiet=quiet)
    except SyncError as error:
        if not home.state():
            raise
        _say(str(error))
        return home
    for one in synced.refusals:
        _say(f"{one.mirror} was not used: {one.reason}")
    return home


def _say(text: str) -> None:
    sys.stderr.write(f"fleet: {clean(text)}\n")
