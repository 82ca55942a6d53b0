"""What the catalogue has yet to tell of, and how far it is."""

from datetime import datetime

from sqlmodel import Field

from fleet.store.columns import moment
from fleet.store.tables.table import Table


class Untold(Table, table=True):
    """A dataset that changed since the catalogue last told of it; ``changes`` counts how often.

    If it is a ``proof``, nothing changed but that copies were read again.
    """

    dataset_id: str = Field(primary_key=True)
    changes: int
    proof: bool
    since: datetime = moment(default=...)
    until: datetime = moment(default=...)


class Press(Table, table=True):
    """How far the catalogue is: one row.

    ``again`` is when it is looked at even if nothing changes, ``made`` what besides the datasets
    it was made of, ``signed`` and ``mirrored`` are marks of signed states, ``begun`` is when the
    last edition was given to the sites; ``reason`` is what a person should see to.
    """

    id: str = Field(primary_key=True)
    gathered_at: datetime | None = moment()
    woken_at: datetime | None = moment()
    look_at: datetime | None = moment()
    written_at: datetime | None = moment()
    again: datetime | None = moment()
    made: str = ""
    signed: str = ""
    mirrored: str = ""
    begun: datetime | None = moment()
    reason: str = ""
