"""A catalogue as those have it who use it: synced from mirrors, proved, and whole.

Nothing but a folder and a network is needed: no server, no store, no key.
"""

from fleet.catalogue.client.home import Home
from fleet.catalogue.client.mirrors import Fetcher, Mirror, MirrorError
from fleet.catalogue.client.signed import Signed
from fleet.catalogue.client.sync import Refusal, Synced, SyncError, sync
from fleet.catalogue.client.trust import Trust, UntrustedError
from fleet.catalogue.client.verify import Fault, Verified, verify, verify_one

__all__ = [
    "Fault",
    "Fetcher",
    "Home",
    "Mirror",
    "MirrorError",
    "Refusal",
    "Signed",
    "SyncError",
    "Synced",
    "Trust",
    "UntrustedError",
    "Verified",
    "sync",
    "verify",
    "verify_one",
]
