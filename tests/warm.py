"""What a process that is forked for a bucket need not read again; nothing is asked."""

from workers.storage import latest
from workers.storage.s3 import Bucket, Place

__all__ = ["latest"]

bucket = Bucket(Place("http://127.0.0.1:9", "none"), None, "Fleet/test")
bucket._client.get_paginator("list_objects_v2")
