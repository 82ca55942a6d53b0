"""The Internet Archive as one local server: s3.us.archive.org, archive.org and a data node of it.

::

    with Archive(folder, {"key": "secret"}, Habits(task_seconds=60), clock) as archive:
        httpx.put(f"{archive.url}/an-item/file.csv", content=b"...", headers={...})
        assert archive.items["an-item"].files == {}  # its task is still queued
"""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fleet.rehearsal.archive import records, uploads
from fleet.rehearsal.archive.items import File, Item, file_of
from fleet.rehearsal.exchange import Answer, Asked, Body, ranged
from fleet.rehearsal.s3.errors import Refused
from fleet.rehearsal.service import Service


@dataclass(frozen=True)
class Habits:
    """What the Archive may do, switched on by tests."""

    task_seconds: float = 0.0
    """How long a catalogue task waits ("this can take some time", ias3)."""

    bucket_ration: int = 149
    """Tasks queued of an item beyond which it says SlowDown (github.com/harvard-lil/perma/
    pull/3263)."""

    spam: frozenset[str] = frozenset()
    """Items whose making it takes for spam, which no retry mends (github.com/bibanon/tubeup/
    issues/135: once the item exists, uploads to it pass)."""


class Archive(Service):
    """The server; ``items`` are by their identifiers, and ``made`` tells each that came to be."""

    def __init__(
        self,
        folder: Path,
        keys: Mapping[str, str],
        habits: Habits | None = None,
        clock: Callable[[], float] = time.time,
        port: int = 0,
    ) -> None:
        super().__init__(folder, port=port)
        self.keys = dict(keys)
        self.habits = habits or Habits()
        self.clock = clock
        self.items: dict[str, Item] = {}
        self.made: list[str] = []

    def answer(self, asked: Asked) -> Answer:
        """Answer one request, or refuse it as the Archive does."""
        with self.lock:
            for item in self.items.values():
                item.settle(self.clock())
        try:
            return self._answer(asked)
        except Refused as refused:
            return refused.answer(asked)

    def _answer(self, asked: Asked) -> Answer:
        first, _, rest = asked.path.removeprefix("/").partition("/")
        if asked.method in {"GET", "HEAD"}:
            if asked.param("check_limit"):
                return _json(uploads.limit(asked, self.items, self.habits.bucket_ration))
            if first == "metadata":
                return self._metadata(rest)
            if asked.path == "/services/tasks.php":
                return self._tasks(asked)
            if asked.path == "/services/search/v1/scrape":
                return self._search(asked)
            if first == "download":
                return self._download(rest)
            if asked.path.startswith(f"{records.DIRECTORY}/"):
                return self._node(asked)
            return self._get(first, rest)
        if asked.method == "PUT":
            return self._put(asked, first, rest)
        if asked.method == "DELETE":
            return self._delete(asked, first, rest)
        raise Refused("MethodNotAllowed")

    def _put(self, asked: Asked, identifier: str, key: str) -> Answer:
        """Make an item, add a file to it, or both; a second writer finds the first one's item."""
        user = uploads.who(asked, self.keys)
        if uploads.IDENTIFIER.fullmatch(identifier) is None:
            raise Refused("InvalidBucketName")
        uploads.check_head(asked)
        now = self.clock()
        file = file_of(key, asked.body, now)
        uploads.check_md5(asked, file.md5)
        with self.lock:
            item = self._item(asked, identifier, user, now, bare=not key)
            if uploads.flag(asked, "ignore-preexisting-bucket"):
                item.metadata = uploads.metadata(asked, identifier, user, item.created)
            self._submit(asked, item, file if key else None)
        return Answer(200, {"ETag": f'"{file.md5}"'})

    def _item(self, asked: Asked, identifier: str, user: str, now: float, bare: bool) -> Item:
        """Find an item of this user's, or make it where that is asked for."""
        item = self.items.get(identifier)
        if item is not None:
            if item.uploader != user:
                raise Refused("AccessDenied")
            if len(item.queue) >= self.habits.bucket_ration:
                reason = "bucket_tasks_queued exceeds bucket_ration"
                raise Refused("SlowDown", resource=reason)
            return item
        if not bare and not uploads.flag(asked, "auto-make-bucket"):
            raise Refused("NoSuchBucket")
        if identifier in self.habits.spam:
            raise Refused("SlowDown", resource=uploads.SPAM.format(item=identifier, user=user))
        hint = asked.headers.get("x-archive-size-hint", "")
        size = int(hint) if hint.isdecimal() else None
        item = Item(identifier, user, uploads.metadata(asked, identifier, user, now), now, size)
        self.items[identifier] = item
        self.made.append(identifier)
        return item

    def _submit(self, asked: Asked, item: Item, file: File | None) -> None:
        keep_old = uploads.flag(asked, "keep-old-version")
        derive = uploads.flag(asked, "queue-derive", usual="1")

        def archive() -> None:
            if file is not None:
                item.write(file, keep_old)
            if derive:
                item.derive(self._made)

        now = self.clock()
        item.submit(now + self.habits.task_seconds, archive)
        item.settle(now)

    def _delete(self, asked: Asked, identifier: str, key: str) -> Answer:
        """Delete a file; an item cannot be deleted (ias3).  That it has to be there is assumed."""
        user = uploads.who(asked, self.keys)
        if not key:
            raise Refused("MethodNotAllowed")
        with self.lock:
            item = self._known(identifier)
            if item.uploader != user:
                raise Refused("AccessDenied")
            if key not in item.files:
                raise Refused("NoSuchKey")
            keep_old = uploads.flag(asked, "keep-old-version")
            cascade = uploads.flag(asked, "cascade-delete")
            now = self.clock()
            due = now + self.habits.task_seconds
            item.submit(due, lambda: item.delete(key, keep_old, cascade))
            item.settle(now)
        return Answer(204)

    def _metadata(self, identifier: str) -> Answer:
        """Give an item's record: of one that is not there yet, an empty object (assumed)."""
        item = self.items.get(identifier)
        if item is None or not item.settled:
            return _json({})
        with self.lock:
            return _json(records.record(item, self._files(item), self.clock()))

    def _tasks(self, asked: Asked) -> Answer:
        """Count an item's tasks, and list them with ``catalog=1``.

        From "Task Listings": ``/services/tasks.php?identifier=…``.  Which fields a task has beside
        those that can be searched by, and that numbers begin anew with each item, is assumed.
        """
        uploads.who(asked, self.keys)
        item = self.items.get(asked.param("identifier") or "")
        waiting = range(item.ran, item.ran + len(item.queue)) if item else range(0)
        value: dict[str, Any] = {}
        if asked.param("summary") != "0":
            value["summary"] = {"queued": len(waiting), "running": 0, "error": 0, "paused": 0}
        if asked.param("catalog") == "1":
            usual = {"cmd": "archive.php", "wait_admin": 0, "status": "queued"}
            value["catalog"] = [{"task_id": number, **usual} for number in waiting]
        return _json({"success": True, "value": value})

    def _search(self, asked: Asked) -> Answer:
        """Name items: ``?q=identifier:…*&count=…&cursor=…`` (archive.org/help/aboutsearch.htm).

        Of what may be searched for there is this only.  That its index lags is known and not
        rehearsed; what a cursor looks like is assumed.
        """
        query, count = asked.param("q") or "", int(asked.param("count") or 5000)
        start = query.removeprefix("identifier:").removesuffix("*")
        found = sorted(
            name for name, item in self.items.items() if item.settled and name.startswith(start)
        )
        left = [name for name in found if name > (asked.param("cursor") or "")]
        more = {"cursor": left[count - 1]} if len(left) > count else {}
        items = [{"identifier": name} for name in left[:count]]
        return _json({"items": items, "count": len(items), "total": len(found), **more})

    def _download(self, rest: str) -> Answer:
        """Send whoever downloads to the data node that has the file; 404 before it is there."""
        identifier, _, name = rest.partition("/")
        self._file(identifier, name)
        path = f"{records.DIRECTORY}/{identifier}/{name}"
        return Answer(302, {"Location": self.url + quote(path, safe="/~")})

    def _node(self, asked: Asked) -> Answer:
        """Serve a file as a data node does: with ranges."""
        rest = asked.path.removeprefix(f"{records.DIRECTORY}/")
        file = self._file(*rest.partition("/")[::2])
        headers = {"ETag": f'"{file.md5}"', "Content-Type": "application/octet-stream"}
        return ranged(asked, file.pieces, headers)

    def _get(self, identifier: str, key: str) -> Answer:
        """Serve a file by the S3-like API, which ignores ranges ("How this is different", ias3)."""
        if not key:
            self._known(identifier)
            return Answer(200)
        file = self._file(identifier, key)
        return Answer(200, {"ETag": f'"{file.md5}"'}, file.pieces)

    def _known(self, identifier: str) -> Item:
        if identifier not in self.items:
            raise Refused("NoSuchBucket")
        return self.items[identifier]

    def _file(self, identifier: str, name: str) -> File:
        item = self._known(identifier)
        with self.lock:
            files = self._files(item) if item.settled else {}
        if name not in files:
            raise Refused("NoSuchKey")
        return files[name]

    def _files(self, item: Item) -> dict[str, File]:
        return records.all_files(item, self._made)

    def _made(self, name: str, content: bytes) -> File:
        """Make a file of the Archive's own."""
        body = Body(self.folder)
        body.write(memoryview(content))
        file = file_of(name, body, self.clock())
        body.close()
        return file


def _json(content: object) -> Answer:
    return Answer(200, {"Content-Type": "application/json"}, json.dumps(content).encode())
