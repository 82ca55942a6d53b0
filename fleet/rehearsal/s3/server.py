"""The S3 server itself: who may, and which function answers what.

::

    with S3Server(folder, ["bucket"], {"id": Key("secret")}, strictness=R2) as s3:
        S3Store("bucket", endpoint=s3.url, access_key_id="id", secret_access_key="secret", …)
        assert s3.buckets["bucket"].objects["key"].read() == b"..."

Faults come from the base's script; AWS's habit of answering a failed completion with 200 is
``POST /*?uploadId=* mask 200 '<Error>…</Error>'``.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from fleet.rehearsal.exchange import Answer, Asked
from fleet.rehearsal.s3 import listing, multipart, objects
from fleet.rehearsal.s3.buckets import Bucket, Object
from fleet.rehearsal.s3.errors import Refused
from fleet.rehearsal.s3.sigv4 import Key, check
from fleet.rehearsal.s3.strictness import R2, Strictness
from fleet.rehearsal.s3.visit import Visit
from fleet.rehearsal.service import Service

LONGEST_KEY = 1024  # bytes: AWS, "Naming Amazon S3 objects"; R2, "Limits"
PLAIN = frozenset(
    {
        "continuation-token",
        "delimiter",
        "encoding-type",
        "fetch-owner",
        "key-marker",
        "max-keys",
        "max-parts",
        "max-uploads",
        "part-number-marker",
        "prefix",
        "start-after",
        "upload-id-marker",
        "x-id",  # AWS's own clients put an operation's name into it
    }
)
ROUTES: dict[tuple[str, bool, frozenset[str]], Callable[[Visit], Answer]] = {
    ("GET", False, frozenset({"list-type"})): listing.list_objects,
    ("GET", False, frozenset({"uploads"})): listing.list_uploads,
    ("HEAD", False, frozenset()): lambda _: Answer(200),
    ("POST", False, frozenset({"delete"})): objects.delete_many,
    ("PUT", True, frozenset()): objects.put,
    ("GET", True, frozenset()): objects.get,
    ("HEAD", True, frozenset()): objects.get,
    ("DELETE", True, frozenset()): objects.delete,
    ("POST", True, frozenset({"uploads"})): multipart.create,
    ("PUT", True, frozenset({"partNumber", "uploadId"})): multipart.put_part,
    ("GET", True, frozenset({"uploadId"})): listing.list_parts,
    ("POST", True, frozenset({"uploadId"})): multipart.complete,
    ("DELETE", True, frozenset({"uploadId"})): multipart.abort,
}

COPIES: dict[Callable[[Visit], Answer], Callable[[Visit, Object], Answer]] = {
    objects.put: objects.copy,
    multipart.put_part: multipart.copy_part,
}


class S3Server(Service):
    """The server; ``keys`` may be changed while it runs, and ``clock`` gives its time."""

    def __init__(
        self,
        folder: Path,
        buckets: Iterable[str],
        keys: Mapping[str, Key],
        strictness: Strictness = R2,
        clock: Callable[[], float] = time.time,
        port: int = 0,
    ) -> None:
        super().__init__(folder, port=port)
        self.buckets = {name: Bucket() for name in buckets}
        self.keys = dict(keys)
        self.strictness = strictness
        self.clock = clock
        self._listings: dict[str, tuple[float, Answer]] = {}

    def answer(self, asked: Asked) -> Answer:
        """Answer one request, or refuse it as S3 does."""
        try:
            return self._answer(self._visit(asked))
        except Refused as refused:
            return refused.answer(asked)

    def _visit(self, asked: Asked) -> Visit:
        """Let a request in: signed for what it touches, or a read of a public bucket."""
        _, name, key = [*asked.path.split("/", 2), "", ""][:3]
        now = self.clock()
        reach = ""
        if "authorization" in asked.headers:
            reach = check(asked, self.keys, now).reach
        elif asked.method not in {"GET", "HEAD"} or name not in self.strictness.public:
            raise Refused("AccessDenied")
        if name not in self.buckets:
            raise Refused("NoSuchBucket")
        if len(key.encode()) > LONGEST_KEY:
            raise Refused("KeyTooLongError")
        rules = self.strictness
        visit = Visit(asked, name, self.buckets[name], key, reach, rules, now, self.lock)
        if key:
            visit.allow(key)
        return visit

    def _answer(self, visit: Visit) -> Answer:
        asked = visit.asked
        named = frozenset(name for name, _ in asked.query) - PLAIN
        route = ROUTES.get((asked.method, bool(visit.key), named))
        if route is None:
            shown = ", ".join(sorted(named)) or asked.method
            raise Refused("NotImplemented", f"{shown} is not implemented here")
        if "transfer-encoding" in asked.headers:
            raise Refused("MissingContentLength")
        if "x-amz-copy-source" in asked.headers:
            if route not in COPIES:
                raise Refused("NotImplemented", "A copy is made by PUT only")
            return COPIES[route](visit, objects.source_of(visit))
        if route is listing.list_objects and self.strictness.listing_age:
            return self._listed(visit)
        return route(visit)

    def _listed(self, visit: Visit) -> Answer:
        """Give a listing as old as the cache's is, as Source Cooperative's proxy does."""
        made, answer = self._listings.get(visit.asked.target, (0.0, None))
        if answer is None or visit.now - made >= self.strictness.listing_age:
            answer = listing.list_objects(visit)
            self._listings[visit.asked.target] = (visit.now, answer)
        return answer
