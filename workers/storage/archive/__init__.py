"""Items of the Internet Archive: one for each version of a dataset.

See ``archive`` for what is done, ``client`` for how it is asked, ``records`` for what is known of
an item, and ``fleet.planning.items`` for which item holds what.
"""

from workers.storage.archive.archive import Archive
from workers.storage.archive.client import Keys
from workers.storage.archive.records import Patience

__all__ = ["Archive", "Keys", "Patience"]
