"""Which licence a version has, and where it can be read."""

import re
from dataclasses import dataclass
from typing import Final

from fleet.descriptions import Description

NO_LICENCE: Final = frozenset({"other", "proprietary", "unknown", "various"})
"""What STAC and others have in the place of a licence's id where there is none."""
_ID: Final = re.compile(r"[A-Za-z0-9_.+-]+")
_COMMONS: Final = re.compile(r"cc-(by(?:-nc)?(?:-sa|-nd)?)-(\d\.\d)", re.IGNORECASE)
_NO_RIGHTS: Final = frozenset({"cc0-1.0", "cc-zero"})


@dataclass(frozen=True, slots=True)
class Licence:
    """A licence; any of it may be empty."""

    id: str = ""
    title: str = ""
    url: str = ""


def licence_of(said: Description, recorded: str) -> Licence:
    """Say which licence a version has: as it was recorded with it, or else as it was described.

    Args:
        said: of its dataset.
        recorded: with the version: an id, a name or a URL, or empty.
    """
    own = "" if recorded.strip().lower() in NO_LICENCE else recorded.strip()
    described = said.licence
    name = own if _ID.fullmatch(own) else described.id
    if own.startswith(("https://", "http://")):
        return Licence(name, "", own)
    if name and name != described.id:
        return Licence(name, "", _deed(name))
    spdx = f"https://spdx.org/licenses/{name}.html" if name else ""
    title = own if own and own != name else described.title.in_("en")
    return Licence(name, title, described.url or _deed(name) or spdx)


def _deed(name: str) -> str:
    """Return where a licence of Creative Commons is read."""
    if name.lower() in _NO_RIGHTS:
        return "https://creativecommons.org/publicdomain/zero/1.0/"
    found = _COMMONS.fullmatch(name)
    return f"https://creativecommons.org/licenses/{found[1].lower()}/{found[2]}/" if found else ""
