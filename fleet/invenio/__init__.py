"""The protocol of InvenioRDM, which Zenodo runs: calls, answers, records, files of a draft.

Both the centre and an executor speak it: the centre makes and publishes records
(``fleet.repositories``), and whoever has the bytes may put them into a draft.
"""

from fleet.invenio.calls import Calls
from fleet.invenio.faults import (
    Busy,
    Corrupt,
    Gone,
    Refused,
    RepositoryError,
    Unfit,
    Unsure,
    Waiting,
)
from fleet.invenio.files import DraftFiles, Wanted
from fleet.invenio.patience import Patience
from fleet.invenio.reading import Copy, Published, read_record

__all__ = [
    "Busy",
    "Calls",
    "Copy",
    "Corrupt",
    "DraftFiles",
    "Gone",
    "Patience",
    "Published",
    "Refused",
    "RepositoryError",
    "Unfit",
    "Unsure",
    "Waiting",
    "Wanted",
    "read_record",
]
