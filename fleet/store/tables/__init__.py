"""The tables: one for each word of the fleet, all of them imported from here.

Rules these modules keep:

- Ids are opaque text. Moments are UTC. Sizes are bytes.
- ``dirty`` and ``look_at`` are what the scheduler reads: a row is touched only when something
  about it changed, or when its time has come.  Whatever waits holds the reason beside it.
"""

from fleet.store.tables.budgets import Budget, Provider, Slice, Window
from fleet.store.tables.catalogue import Press, Untold
from fleet.store.tables.centre import Blob, Office, Request, Wakeup
from fleet.store.tables.changes import DatasetChange, SiteLoad, VersionChange
from fleet.store.tables.datasets import Artifact, Dataset, DatasetAlias, Shard, Version
from fleet.store.tables.evidence import Observation, SourceScore
from fleet.store.tables.publishing import Publication, Served
from fleet.store.tables.replicas import Fixity, Replica
from fleet.store.tables.rules import Placement, Rule, Tombstone
from fleet.store.tables.seeding import Seeding, TorrentAlias, Uploading
from fleet.store.tables.sites import Incident, Report, Site
from fleet.store.tables.traffic import TrafficBin, Usual
from fleet.store.tables.work import Attempt, Transfer

__all__ = [
    "Artifact",
    "Attempt",
    "Blob",
    "Budget",
    "Dataset",
    "DatasetAlias",
    "DatasetChange",
    "Fixity",
    "Incident",
    "Observation",
    "Office",
    "Placement",
    "Press",
    "Provider",
    "Publication",
    "Replica",
    "Report",
    "Request",
    "Rule",
    "Seeding",
    "Served",
    "Shard",
    "Site",
    "SiteLoad",
    "Slice",
    "SourceScore",
    "Tombstone",
    "TorrentAlias",
    "TrafficBin",
    "Transfer",
    "Untold",
    "Uploading",
    "Usual",
    "Version",
    "VersionChange",
    "Wakeup",
    "Window",
]
