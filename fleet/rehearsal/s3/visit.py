"""One request to a bucket, and what holds for it."""

import threading
from dataclasses import dataclass

from fleet.rehearsal.exchange import Asked
from fleet.rehearsal.s3.buckets import Bucket, Object
from fleet.rehearsal.s3.errors import Refused
from fleet.rehearsal.s3.strictness import Strictness


@dataclass(frozen=True)
class Visit:
    """Who asks what of which bucket; ``lock`` is held while anything is changed."""

    asked: Asked
    name: str
    bucket: Bucket
    key: str
    reach: str
    rules: Strictness
    now: float
    lock: threading.RLock

    def allow(self, key: str) -> None:
        """Refuse what lies outside the credentials' reach."""
        if not f"{self.name}/{key}".startswith(self.reach):
            raise Refused("AccessDenied")

    def put(self, new: Object, drop: str | None = None, conditions: str = "") -> None:
        """Write an object if the request's conditions hold, ending the upload that made it.

        ``conditions`` is what the names of their headers begin with.

        Conditions as AWS's "How to prevent object overwrites with conditional writes" has them: a
        failed one is 412, ``If-Match`` on nothing 404, and one that meets another write 409, after
        which an upload is gone.  That they come before the limit of writes a second is assumed.
        """
        with self.lock:
            if drop is not None and drop not in self.bucket.uploads:
                raise Refused("NoSuchUpload")
            conditional = self._conditional(conditions)
            if conditional and self.key in self.bucket.contested:
                self.bucket.contested.discard(self.key)
                self.bucket.uploads.pop(drop or "", None)
                raise Refused("ConditionalRequestConflict")
            since = self.now - self.bucket.last_written(self.key)
            if 0 <= since < self.rules.seconds_a_write:
                raise Refused("SlowDown", status=self.rules.hurried)
            self.bucket.put(self.key, new)
            self.bucket.uploads.pop(drop or "", None)

    def _conditional(self, prefix: str) -> bool:
        """Whether the write has conditions; they hold."""
        headers = self.asked.headers
        there = self.bucket.objects.get(self.key)
        if none := headers.get(f"{prefix}if-none-match"):
            if none != "*":
                raise Refused("NotImplemented", "If-None-Match takes * when writing")
            if there is not None:
                raise Refused("PreconditionFailed")
        if match := headers.get(f"{prefix}if-match"):
            if there is None:
                raise Refused("NoSuchKey")
            if match not in {there.etag, there.tag}:
                raise Refused("PreconditionFailed")
        return bool(none or match)
