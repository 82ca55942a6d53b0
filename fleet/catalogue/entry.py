"""What the catalogue says of a dataset and of each of its versions: plain values.

Whoever reads the store hands them over; nothing in this room asks it.
"""

from dataclasses import dataclass, field
from datetime import date, datetime
from urllib.parse import quote

from fleet.descriptions import Description
from fleet.planning.reading import expanded
from fleet.planning.states import VersionState


@dataclass(frozen=True, slots=True)
class Artifact:
    """One file of a version; ``shard`` is the position of the shard that it lies in."""

    path: str
    size: int
    sha256: str
    md5: str = ""
    media_type: str = ""
    role: str = "data"
    shard: int | None = None
    offset: int | None = None


@dataclass(frozen=True, slots=True)
class Shard:
    """A torrent of a version's files.

    Attributes:
        position: in its version.
        infohash: v1, in lowercase hex.
        name: the torrent's.
        torrent: URL of the ``.torrent`` file, or empty.
        metalink: URL of the Metalink of the same files, or empty.
        magnet: the link, or empty.
    """

    position: int
    infohash: str
    name: str
    torrent: str = ""
    metalink: str = ""
    magnet: str = ""


@dataclass(frozen=True, slots=True)
class Mirror:
    """A site where copies of a version's files were verified, and can be read over HTTP.

    Attributes:
        site: its id.
        kind: of site.
        root: URL of what the site is as a whole.
        template: URL of a file, as ``planning.reading`` has templates.
        verified_at: when its oldest copy was last read from end to end.
        region: where it stands.
        country: likewise.
        shards: positions of the shards that it holds; none: all of them.
    """

    site: str
    kind: str
    root: str
    template: str
    verified_at: datetime | None = None
    region: str = ""
    country: str = ""
    shards: tuple[int, ...] = ()

    def holds(self, artifact: Artifact) -> bool:
        """Whether it has a file of the version."""
        return not self.shards or artifact.shard in self.shards

    def url(self, path: str) -> str:
        """Return where it has the file with ``path``."""
        return expanded(self.template, path)


@dataclass(frozen=True, slots=True)
class Entry:
    """One version that was published.

    Attributes:
        label: of the version.
        sequence: rises from one version of a dataset to the next.
        state: never a draft's.
        published_at: UTC.
        artifacts: its files, by path.
        licence: the id or name that was recorded with it.
        licence_retrieved: on which day.
        doi: of this version.
        source: what it was imported from.
        shards: its torrents, by position.
        mirrors: where its files can be had now, the first to be asked first.
    """

    label: str
    sequence: int
    state: VersionState
    published_at: datetime
    artifacts: tuple[Artifact, ...]
    licence: str = ""
    licence_retrieved: date | None = None
    doi: str = ""
    source: str = ""
    shards: tuple[Shard, ...] = ()
    mirrors: tuple[Mirror, ...] = ()


@dataclass(frozen=True, slots=True)
class Dataset:
    """A dataset with its versions, the oldest first.

    ``doi`` is the one that stands for all of its versions, and ``centre`` the URL of whose pages
    and redirector lead to it, if there are any.
    """

    id: str
    entries: tuple[Entry, ...]
    description: Description = field(default_factory=Description)
    doi: str = ""
    centre: str = ""

    @property
    def latest(self) -> Entry | None:
        """The version that people are meant to take, if there is one."""
        published = [one for one in self.entries if one.state == VersionState.PUBLISHED]
        return published[-1] if published else None

    @property
    def catalog(self) -> str:
        """URL of the catalogue that it is told in."""
        return f"{self.centre}/catalogue/catalogue.json" if self.centre else ""

    def page(self, entry: Entry | None = None) -> str:
        """Return the URL of its page, or of a version's."""
        if not self.centre:
            return ""
        whole = f"{self.centre}/datasets/{quote(self.id, safe='')}"
        return f"{whole}/versions/{quote(entry.label, safe='')}" if entry else whole

    def address(self, entry: Entry, path: str) -> str:
        """Return the URL that a file has for good; it leads to the best mirror of the moment."""
        return address(self.centre, self.id, entry.label, path)


def address(centre: str, dataset: str, label: str, path: str) -> str:
    """Return the URL that a version's file has for good at a centre."""
    return f"{centre}{quote(f'/d/{dataset}/{label}/{path}')}"
