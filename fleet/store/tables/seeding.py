"""Torrents beside the shards' own, and what seeders say."""

from datetime import datetime

from sqlmodel import Field

from fleet.planning.states import AliasState
from fleet.store.columns import count, moment
from fleet.store.tables.table import Table


class TorrentAlias(Table, table=True):
    """A torrent that others made of a shard's bytes, seeded beside the shard's own once verified.

    ``torrent`` names the blob with the ``.torrent`` as it came, and ``size`` counts its padding.
    Its files lie below a site's root in ``ours`` where its own paths begin with ``theirs``.
    ``transfer_id`` is the verify that checks it, where reading the bytes takes one.
    """

    infohash: str = Field(primary_key=True)
    shard_id: str = Field(foreign_key="shard.id", index=True)
    torrent: str
    name: str
    size: int = count(default=...)
    theirs: str
    ours: str
    state: str = Field(default=AliasState.UNCHECKED)
    reason: str = ""
    transfer_id: str | None = Field(default=None, index=True)
    created_at: datetime = moment(default=...)
    checked_at: datetime | None = moment()


class Seeding(Table, table=True):
    """What a site's seeder last said of one torrent.

    ``uploaded`` is the sum over all its runs; ``counted`` is where this run's counter stood.
    """

    site_id: str = Field(foreign_key="site.id", primary_key=True)
    infohash: str = Field(primary_key=True)
    peers: int = 0
    complete: int = 0
    availability: int = 0
    uploaded: int = count(default=0)
    counted: int = count(default=0)
    state: str = ""
    error: str = ""
    at: datetime = moment(default=...)


class Uploading(Table, table=True):
    """What a site's seeder last said of the month's uploads; None is as in its report."""

    site_id: str = Field(foreign_key="site.id", primary_key=True)
    month: str
    sent: int | None = count()
    bytes_per_month: int | None = count()
    bytes_per_second: int | None = count()
    reason: str = ""
    until: datetime | None = moment()
    at: datetime = moment(default=...)
