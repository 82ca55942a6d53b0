"""Where the files of a version are read at a site: each kind of place has its own layout.

A node, a bucket or a web server has a folder for each version below one root.  The Internet Archive
has an item, and a repository a record, whose files are read below its name.
"""

from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from fleet.planning.items import locate

ITEMS: Final = "internet-archive"
RECORDS: Final = "zenodo"


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

    def url(self, folder: str, path: str) -> str:
        """Say where a file is read.

        Args:
            folder: its version's, DATASET/VERSION.
            path: within that.
        """
        root = self.root.rstrip("/")
        if self.driver == ITEMS:
            item, name = locate(self.name, f"{folder}/{path}".split("/"))
            return f"{root}/{item}/{quote(name)}"
        if self.driver == RECORDS:  # without the query it is a page for people, should it be HTML
            return f"{root}/{self.name}/files/{quote(path, safe='')}?download=1"
        return f"{root}/{quote(f'{folder}/{path}')}"
