"""A bucket of a service that speaks S3: R2, Backblaze, Tigris, Source Cooperative, and others.

See ``bucket`` for what is done, ``client`` for how it is asked, and ``upload`` for objects of many
parts.
"""

from workers.storage.s3.bucket import Bucket
from workers.storage.s3.client import Keys, Place

__all__ = ["Bucket", "Keys", "Place"]
