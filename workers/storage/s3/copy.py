"""A copy of an object, made by the service itself where it can, and put in its place at once.

Rules this module keeps:

- What is copied is the object that was looked at, by its tag, and so is what it replaces.
- One request, where the object is small enough for that; else many parts, and one last call that
  alone makes it visible.
- A service that copies nothing by itself is sent what was read from it, a part at a time, which is
  all that is held in memory; the whole has its sha256, or it is not made visible.
"""

import base64
import hashlib
from collections.abc import Callable, Iterator
from typing import Any, Final

from botocore.exceptions import ClientError

from workers.lease import Lease
from workers.storage.contract import Capabilities, Changed, Corrupt, Stored, Unfit, part_length
from workers.storage.s3.client import Place, code_of, told

LONG: Final = 1024 * 1024 * 1024  # of a part that the service copies, and we never have
SHORT: Final = 16 * 1024 * 1024
_CHANGED: Final = frozenset({"PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey"})
Read = Callable[[str, int, int], bytes]


def condition(tag: str | None) -> dict[str, str]:
    """Say that what is there has to have this tag; None: that nothing may be."""
    return {"IfNoneMatch": "*"} if tag is None else {"IfMatch": f'"{tag}"'}


def ask(what: str, call: Callable[..., Any], **said: Any) -> Any:
    """Make a request on a condition.

    Raises:
        Changed: it does not hold.
        Unfit: the service has no such request, or knows no such condition.
        StorageError: it cannot be done.
    """
    with told(what):
        try:
            return call(**said)
        except ClientError as error:
            if code_of(error) in _CHANGED:
                raise Changed(f"{what}: it is not what it was") from error
            if code_of(error) == "NotImplemented":
                raise Unfit(f"{what}: the service has no way to do that") from error
            raise


class Copy:
    """One copy within a bucket, of ``source`` (with its tag) to ``path``, where ``tag`` is."""

    def __init__(
        self,
        client: Any,
        place: Place,
        able: Capabilities,
        source: Stored,
        path: str,
        tag: str | None,
        more: dict[str, Any],
    ) -> None:
        self._client, self._able, self._source, self._more = client, able, source, more
        self._if = condition(tag)
        self._what = f"{path} cannot be made a copy of {source.path}"
        self._named = {"Bucket": place.bucket, "Key": place.key(path)}
        self._from = {
            "CopySource": {"Bucket": place.bucket, "Key": place.key(source.path)},
            "CopySourceIfMatch": f'"{source.tag}"',
        }

    def by_the_service(self, lease: Lease) -> None:
        """Let the service copy it.

        Raises:
            Unfit: it copies nothing.
            StorageError: as ``ask``.
        """
        if self._source.size <= (self._able.part_most or self._source.size):
            said = {**self._named, **self._from, **self._more, **self._if}
            ask(self._what, self._client.copy_object, MetadataDirective="REPLACE", **said)
            return
        upload, parts = self._begin(), []
        for number, start, length in self._cut(LONG):
            lease.check()
            made = ask(
                self._what,
                self._client.upload_part_copy,
                **upload,
                **self._from,
                PartNumber=number,
                CopySourceRange=f"bytes={start}-{start + length - 1}",
            )
            parts.append({"PartNumber": number, "ETag": made["CopyPartResult"]["ETag"]})
        self._complete(upload, parts, lease)

    def through_us(self, read: Read, lease: Lease) -> None:
        """Read it and send it.

        Raises:
            Corrupt: what was read is not what it has to be.
            StorageError: as ``ask``.
        """
        if self._source.size <= SHORT:
            data = read(self._source.path, 0, self._source.size)
            self._prove(hashlib.sha256(data))
            said = {**self._named, **sent(data), **self._more, **self._if}
            ask(self._what, self._client.put_object, **said)
            return
        upload, parts, digest = self._begin(), [], hashlib.sha256()
        for number, start, length in self._cut(SHORT):
            lease.check()
            data = read(self._source.path, start, length)
            digest.update(data)
            said = {**upload, **sent(data), "PartNumber": number}
            made = ask(self._what, self._client.upload_part, **said)
            parts.append({"PartNumber": number, "ETag": made["ETag"]})
        self._prove(digest)
        self._complete(upload, parts, lease)

    def _cut(self, least: int) -> Iterator[tuple[int, int, int]]:
        size = self._source.size
        length = part_length(size, self._able, min(least, self._able.part_most or least))
        for number, start in enumerate(range(0, size, length), 1):
            yield number, start, min(length, size - start)

    def _begin(self) -> dict[str, str]:
        made = ask(self._what, self._client.create_multipart_upload, **self._named, **self._more)
        return {**self._named, "UploadId": str(made["UploadId"])}

    def _complete(self, upload: dict[str, str], parts: list[dict[str, Any]], lease: Lease) -> None:
        lease.check_live()
        said = {**upload, **self._if, "MultipartUpload": {"Parts": parts}}
        ask(self._what, self._client.complete_multipart_upload, **said)

    def _prove(self, digest: Any) -> None:
        if digest.hexdigest() != self._source.sha256:
            raise Corrupt(f"{self._source.path}: what was read does not have its sha256")


def sent(data: bytes) -> dict[str, Any]:
    """Say of some bytes what is sent, and what the service is to check."""
    md5 = hashlib.md5(data, usedforsecurity=False).digest()
    return {"Body": data, "ContentLength": len(data), "ContentMD5": base64.b64encode(md5).decode()}
