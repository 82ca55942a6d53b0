"""Where the files of a version are read at a site: each kind of place has its own layout.

A node, a bucket or a web server has a folder for each version below one root.  The Internet Archive
has an item, and a repository a record, whose files are read below its name.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final
from urllib.parse import quote

from fleet.planning.items import FOLDERS, identifier

ITEMS: Final = "internet-archive"
RECORDS: Final = "zenodo"
SEGMENTS: Final = "{/path*}"
"""Where a path goes in a template, each of its segments after a slash (RFC 6570)."""
WHOLE: Final = "{path}"
"""Where a path goes as one segment, its slashes escaped."""


@dataclass(frozen=True, slots=True)
class Reading:
    """How a site is read for one version.

    Attributes:
        driver: of the site.
        root: what all its addresses begin with.
        name: what its items begin with, or the version's record.
    """

    driver: str
    root: str
    name: str = ""

    @property
    def in_folders(self) -> bool:
        """Whether a version's folder lies below the root, as it does below a torrent's base."""
        return self.driver not in {ITEMS, RECORDS}

    def template(self, folder: str) -> str:
        """Say where the files below a folder, DATASET/VERSION or more, are read."""
        root = self.root.rstrip("/")
        if self.driver == ITEMS:
            names = folder.split("/")
            item = identifier(self.name, names[:FOLDERS])
            return "/".join((root, item, *map(quote, names[FOLDERS:]))) + SEGMENTS
        if self.driver == RECORDS:  # without the query it is a page for people, should it be HTML
            return f"{root}/{self.name}/files/{WHOLE}?download=1"
        return f"{root}/{quote(folder)}{SEGMENTS}"

    def url(self, folder: str, path: str) -> str:
        """Say where a file is read.

        Args:
            folder: DATASET/VERSION, or one below it.
            path: within that.
        """
        return expanded(self.template(folder), path)


def expanded(template: str, path: str) -> str:
    """Put a file's path into a template."""
    return template.replace(SEGMENTS, f"/{_quoted(path)}").replace(WHOLE, _quoted(path, safe=""))


_quoted = lru_cache(quote)  # at each site the same paths
