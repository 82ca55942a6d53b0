"""A bucket under the contract of storages (see ``contract``).

Rules this module keeps:

- What is there already is compared by what the service says of it: the md5 of an object that was
  sent whole, the md5 of its parts' md5s else.  Where it says neither, it is read back.
- An object is made only where there is none: by a condition, where the service knows one.
- If an answer was lost, or another was quicker, what is there decides.
"""

import base64
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from workers.lease import Lease
from workers.pull.faults import plain
from workers.pull.pace import Pace
from workers.storage.contract import (
    BLOCK,
    Absent,
    Capabilities,
    Content,
    Corrupt,
    StorageError,
    Stored,
    Taken,
    Unfit,
    alike,
    checked,
    part_length,
    refuse,
)
from workers.storage.s3.client import Keys, Place, code_of, connect, told
from workers.storage.s3.copy import Copy, ask, condition, sent
from workers.storage.s3.upload import MD5_BYTES, Part, Upload, composite, once, part_digests

MIB: Final = 1024 * 1024
PART: Final = 16 * MIB
SMALL: Final = 16 * MIB  # what is read whole, into memory
CAPABILITIES: Final = Capabilities(
    # https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html; R2's are the same, and it
    # wants all parts but the last to be equal: https://developers.cloudflare.com/r2/platform/limits
    object_most=10_000 * 5 * 1024 * MIB,
    parts_most=10_000,
    part_least=5 * MIB,
    part_most=5 * 1024 * MIB,
    check="md5",
)


class Bucket:
    """The objects of a bucket below its prefix."""

    def __init__(
        self,
        place: Place,
        keys: Callable[[], Keys] | None,
        agent: str,
        lease: Lease | None = None,
        capabilities: Capabilities = CAPABILITIES,
    ) -> None:
        """Ask nothing yet; without ``keys`` it is read as anybody may, and not written to."""
        self.capabilities = capabilities
        self._place = place
        self._lease = lease or Lease()
        self._pace = Pace(self._lease)
        self._client: Any = connect(place, keys, self._pace, agent)

    def stat(self, path: str) -> Stored | None:
        """Tell of the object at a path; None where there is none."""
        answer = self._head(checked(path))
        if answer is None:
            return None
        return self._stored(path, answer)

    def read(self, path: str, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        """Read an object, or a part of it; who cuts what it sends is asked for the rest."""
        path, at = checked(path), start
        end = None if length is None else start + length
        while end is None or at < end:
            answer = self._get(path, at, end)
            if answer is None:
                return
            began, whole = at, _whole(answer, at)
            for block in self._body(path, answer["Body"]):
                at += len(block)
                yield block
            end = at if whole is None else min(whole, whole if end is None else end)
            if at == began and at < end:
                raise StorageError(f"{path} ended after {at:,} of {end:,} bytes")

    def list(self, folder: str = "") -> Iterator[Stored]:
        """Tell of every object below a folder; no more than its size and its tag is known."""
        below = self._place.key(f"{checked(folder)}/" if folder else "")
        with told(f"{folder or 'the bucket'} cannot be listed"):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._place.bucket, Prefix=below
            )
            for page in pages:
                for one in page.get("Contents", ()):
                    tag = str(one.get("ETag", "")).strip('"')
                    md5 = tag if len(tag) == 2 * MD5_BYTES else None
                    yield Stored(self._place.path(one["Key"]), one["Size"], None, md5, tag)

    def write(self, path: str, content: Content, lease: Lease) -> Stored:
        """Send a file, in parts where it is large; what is there of it is gone on with."""
        path = checked(path)
        refuse(self.capabilities, path, content)
        if not self._there(path, content):
            length = part_length(content.size, self.capabilities, PART)
            try:
                self._send(path, content, length, lease)
            except Corrupt:
                raise
            except StorageError:
                if not self._there(path, content):
                    raise
        return Stored(path, content.size, content.sha256)

    def remove(self, path: str) -> None:
        """Remove an object, and what was sent of one; one that is not there is fine."""
        Upload(self._client, self._place, self._pace, self._lease).abandon(checked(path))
        with told(f"{path} cannot be removed"):
            self._client.delete_object(**self._named(checked(path)))

    def fetch(self, path: str) -> tuple[bytes, str] | None:
        """Read a small object with its tag; None where there is none."""
        try:
            with told(f"{path} cannot be read"):
                answer = self._client.get_object(**self._named(checked(path)))
                with answer["Body"] as body:
                    data = body.read(SMALL + 1)
        except Absent:
            return None
        if len(data) > SMALL:
            raise Unfit(f"{path} has more than {SMALL:,} bytes; something else lies there")
        return data, str(answer["ETag"]).strip('"')

    def swap(self, path: str, data: bytes, tag: str | None) -> None:
        """Put a small object in the place of another."""
        said = {**self._named(checked(path)), **sent(data), **condition(tag)}
        what = f"{path} cannot be replaced"
        ask(what, self._client.put_object, **said, ContentType="application/json")

    def copy(self, source: Stored, path: str, tag: str | None, lease: Lease) -> None:
        """Put a copy in the place of another object; through here, if the service makes none."""
        named = f"{checked(source.path)} cannot be copied"
        answer = self._head(source.path)
        if answer is None:
            raise Absent(f"{named}: nothing is there")
        found = self._stored(source.path, answer)
        if alike(found, source) is False:
            raise Corrupt(f"{named}: something else is there than should be")
        kept = {"ContentType": answer["ContentType"], "Metadata": {"sha256": source.sha256}}
        pinned = replace(source, tag=found.tag)
        job = Copy(self._client, self._place, self.capabilities, pinned, checked(path), tag, kept)
        if source.size > SMALL:  # of those that were killed before their end
            Upload(self._client, self._place, self._pace, lease).abandon(path)
        try:
            job.by_the_service(lease)
        except Unfit:
            job.through_us(lambda *part: b"".join(self.read(*part)), lease)

    def _send(self, path: str, content: Content, length: int, lease: Lease) -> None:
        more = {"ContentType": content.media_type, "Metadata": {"sha256": content.sha256}}
        if content.size <= length:
            self._put(path, content, more, lease)
            return
        upload = Upload(self._client, self._place, self._pace, lease)
        tag, said = upload.send(path, content, length, more)
        if said != tag:
            self._look(path, content, tag)
        upload.abandon(path)

    def _look(self, path: str, content: Content, tag: str) -> None:
        """Look at what was made where the service does not say that it is what was to be.

        Raises:
            Corrupt: it is something else.
        """
        found = self.stat(path)
        if found is None or (_is_composite(found.tag) and found.tag != tag):
            if found is not None and found.sha256 == content.sha256:  # ours, and no other's
                self.remove(path)
            raise Corrupt(f"{path}: its tag is {found and found.tag}, and should be {tag}")

    def _put(self, path: str, content: Content, more: dict[str, Any], lease: Lease) -> None:
        """Send a file whole."""
        with content.file.open("rb", buffering=0) as file:
            (digest,) = part_digests(file.fileno(), content, max(1, content.size), lease)
            take = partial(self._pace.take, self._place.host)
            body = Part(file.fileno(), 0, content.size, take)
            with told(f"{path} cannot be sent"):
                once(
                    self._client.put_object,
                    **self._named(path),
                    **more,
                    Body=body,
                    ContentLength=content.size,
                    ContentMD5=base64.b64encode(digest).decode(),
                )
        lease.advance(content.size)

    def _there(self, path: str, content: Content) -> bool:
        """Whether our bytes are there.

        Raises:
            Taken: others are.
        """
        found = self.stat(path)
        if found is None:
            return False
        if found.size == content.size and (
            self._agrees(path, found, content) or self._reads_back(path, content)
        ):
            return True
        raise Taken(
            f"{path} is taken: {found.size:,} bytes are there already that are not the "
            f"{content.size:,} to be written; nothing was changed"
        )

    def _agrees(self, path: str, found: Stored, content: Content) -> bool:
        """Whether what the service says of an object says that it is ours."""
        with content.file.open("rb", buffering=0) as file:
            if found.md5 is not None:
                whole = max(1, content.size)
                (digest,) = part_digests(file.fileno(), content, whole, self._lease)
                return digest.hex() == found.md5
            if not _is_composite(found.tag):
                return False
            length = self._first_part(path) or part_length(content.size, self.capabilities, PART)
            if found.tag.rpartition("-")[2] != str(-(-content.size // length)):
                return False  # it was not cut so
            return composite(part_digests(file.fileno(), content, length, self._lease)) == found.tag

    def _reads_back(self, path: str, content: Content) -> bool:
        digest = hashlib.sha256()
        for block in self.read(path):
            self._lease.check()
            digest.update(block)
        return digest.hexdigest() == content.sha256

    def _get(self, path: str, start: int, end: int | None) -> dict[str, Any] | None:
        """Ask for bytes of an object; None where it has none there."""
        last = "" if end is None else end - 1
        ranged = {"Range": f"bytes={start}-{last}"} if start or end is not None else {}
        with told(f"{path} cannot be read"):
            try:
                found: dict[str, Any] = self._client.get_object(**self._named(path), **ranged)
            except ClientError as error:
                if code_of(error) == "InvalidRange":
                    return None
                raise
        return found

    def _body(self, path: str, body: Any) -> Iterator[bytes]:
        try:
            while block := body.read(self._pace.take(self._place.host, BLOCK)):
                yield block
        except (BotoCoreError, OSError) as error:
            raise StorageError(f"{path} broke off: {plain(str(error))}") from error
        finally:
            body.close()

    def _length(self, path: str) -> int:
        """Ask how long an object is by a range of it, where a HEAD does not say."""
        answer = self._get(path, 0, 1)
        if answer is None:
            return 0
        answer["Body"].close()
        whole = _whole(answer, 0)
        if whole is None:
            raise StorageError(f"{path}: the service does not say how long it is")
        return whole

    def _stored(self, path: str, answer: dict[str, Any]) -> Stored:
        """Say what a HEAD tells; names of metadata come in whatever case the service likes."""
        tag = str(answer.get("ETag", "")).strip('"')
        kept = {name.lower(): value for name, value in answer.get("Metadata", {}).items()}
        md5 = tag if len(tag) == 2 * MD5_BYTES else None
        size = answer.get("ContentLength")
        length = self._length(path) if size is None else int(size)
        return Stored(path, length, kept.get("sha256"), md5, tag)

    def _first_part(self, path: str) -> int:
        """Ask how long an object's first part is; 0 where the service does not tell."""
        try:
            found = self._head(path, PartNumber=1)
        except StorageError:
            return 0
        return int(found["ContentLength"]) if found else 0

    def _head(self, path: str, **more: Any) -> dict[str, Any] | None:
        """Ask what is at a path; None where nothing is."""
        try:
            with told(f"{path} cannot be asked for"):
                found: dict[str, Any] = self._client.head_object(**self._named(path), **more)
        except Absent:
            return None
        return found

    def _named(self, path: str) -> dict[str, str]:
        return {"Bucket": self._place.bucket, "Key": self._place.key(path)}


def _whole(answer: dict[str, Any], start: int) -> int | None:
    """Say how long the object is that an answer gives a part of, from ``start`` on."""
    total = str(answer.get("ContentRange", "")).rpartition("/")[2]
    if total.isdecimal():
        return int(total)
    length = answer.get("ContentLength")
    return None if length is None else start + int(length)


def _is_composite(tag: str) -> bool:
    return len(tag) > 2 * MD5_BYTES and tag[2 * MD5_BYTES] == "-"
