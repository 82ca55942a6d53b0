"""Where a site's replicas lie: safe paths, staging, publication and quarantine."""

from workers.storage.paths import UnsafePathError, contained
from workers.storage.posix import PosixStorage

__all__ = ["PosixStorage", "UnsafePathError", "contained"]
