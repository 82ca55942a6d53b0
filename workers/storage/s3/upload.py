"""An object of many parts: begun, gone on with, and made visible by one last call.

Rules this module keeps:

- Its parts are cut by its size alone, so that whoever goes on with an upload that was broken off
  cuts it alike.  A part that is there counts only if it has our bytes, by its md5.
- What the service says is the md5 of each part that it got has to be ours, and it makes the parts
  visible by these md5s only; what the whole will be called (the md5 of all md5s) is known before it
  is asked for.  ``Content-MD5`` would have it hash each part once more, which is a third of what an
  upload costs ``rclone serve s3``.
"""

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from io import RawIOBase
from threading import Event
from typing import Any, Final

from botocore.exceptions import ClientError

from workers.lease import Lease
from workers.pull.pace import Pace
from workers.storage.contract import BLOCK, Content, StorageError, Unfit
from workers.storage.s3.client import Place, code_of, told

MD5_BYTES: Final = 16
WATCH_SECONDS: Final = 0.2
_MD5: Final = re.compile(r"[0-9a-f]{32}")
# keys may lack the right, services the call, and rclone's says this where nothing was begun
_NO_LIST: Final = frozenset({"AccessDenied", "NotImplemented", "NoSuchUpload"})


class Part(RawIOBase):
    """Some bytes of a file, as a file to send: read at the pace that is allowed, more than once."""

    def __init__(
        self, descriptor: int, start: int, length: int, take: Callable[[int], int]
    ) -> None:
        super().__init__()
        self._descriptor, self._start, self._length = descriptor, start, length
        self._take = take
        self._at = 0

    def __len__(self) -> int:
        """Return how many bytes it has."""
        return self._length

    def readable(self) -> bool:
        """Say that it is."""
        return True

    def seekable(self) -> bool:
        """Say that it is."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place in it."""
        origins = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._length}
        self._at = offset + origins[whence]
        return self._at

    def tell(self) -> int:
        """Return the place in it."""
        return self._at

    def read(self, size: int = -1) -> bytes:
        """Read some of it, and more than was asked for: http.client asks for 16 KiB at a time."""
        left = max(0, self._length - self._at)
        wanted = left if size is None or size < 0 else min(max(size, BLOCK), left)
        if not wanted:
            return b""
        data = os.pread(self._descriptor, self._take(wanted), self._start + self._at)
        self._at += len(data)
        return data


class Upload:
    """One object on its way, in parts."""

    def __init__(self, client: Any, place: Place, pace: Pace, lease: Lease) -> None:
        self._client, self._place = client, place
        self._pace, self._lease = pace, lease
        self._ended = Event()

    def send(
        self, path: str, content: Content, length: int, more: dict[str, Any]
    ) -> tuple[str, str]:
        """Send what is not there yet and make it visible.

        Args:
            path: where.
            content: what.
            length: of each part but the last.
            more: what else to say when it is begun.

        Returns:
            The tag that it has to have, and the one that the service says it has.

        Raises:
            StorageError: it could not be done; what was sent stays for the next time.
        """
        named = {"Bucket": self._place.bucket, "Key": self._place.key(path)}
        with content.file.open("rb", buffering=0) as file:
            digests = part_digests(file.fileno(), content, length, self._lease)
            upload, there = self._begun(named, digests)
            if upload is None:
                with told(f"{path} cannot be begun"):
                    upload = str(self._client.create_multipart_upload(**named, **more)["UploadId"])
            named["UploadId"] = upload
            self._lease.advance(sum(min(length, content.size - at * length) for at in there))
            left = [at for at in range(len(digests)) if at not in there]
            self._parts(path, named, left, file.fileno(), content.size, length, digests)
        self._lease.check_live()
        parts = [
            {"PartNumber": at + 1, "ETag": f'"{digest.hex()}"'} for at, digest in enumerate(digests)
        ]
        with told(f"{path} cannot be completed"):
            answer = once(
                self._client.complete_multipart_upload, **named, MultipartUpload={"Parts": parts}
            )
        return composite(digests), _tag(answer)

    def abandon(self, path: str) -> None:
        """Let go of all that was begun at a path and is of no use any more."""
        key = self._place.key(path)
        for upload in self._uploads(key):
            with told(f"what was begun of {path} cannot be given up"):
                self._client.abort_multipart_upload(
                    Bucket=self._place.bucket, Key=key, UploadId=upload
                )

    def _begun(
        self, named: dict[str, str], digests: list[bytes]
    ) -> tuple[str | None, frozenset[int]]:
        """Find the upload with the most of our parts, counted from 0; None if none was begun."""
        best: tuple[str | None, frozenset[int]] = (None, frozenset())
        for upload in self._uploads(named["Key"]):
            with told(f"the parts of {named['Key']} cannot be listed"):
                pages = self._client.get_paginator("list_parts").paginate(**named, UploadId=upload)
                parts = [part for page in pages for part in page.get("Parts", ())]
            there = frozenset(
                part["PartNumber"] - 1
                for part in parts
                if part["PartNumber"] <= len(digests)
                and part["ETag"].strip('"') == digests[part["PartNumber"] - 1].hex()
            )
            if best[0] is None or len(there) > len(best[1]):
                best = (upload, there)
        return best

    def _uploads(self, key: str) -> list[str]:
        """Name what was begun at a key and not completed, where the service lets us ask."""
        with told(f"what was begun at {key} cannot be listed"):
            pages = self._client.get_paginator("list_multipart_uploads").paginate(
                Bucket=self._place.bucket, Prefix=key
            )
            try:
                found = [one for page in pages for one in page.get("Uploads", ())]
            except ClientError as error:
                if code_of(error) not in _NO_LIST:
                    raise
                return []
        return [one["UploadId"] for one in found if one["Key"] == key]

    def _parts(
        self,
        path: str,
        named: dict[str, str],
        left: Iterable[int],
        descriptor: int,
        size: int,
        length: int,
        digests: Sequence[bytes],
    ) -> None:
        """Send parts, several at once; the first that fails ends it."""

        def send(at: int) -> None:
            start = at * length
            part = Part(descriptor, start, min(length, size - start), self._take)
            with told(f"part {at + 1} of {path} cannot be sent"):
                answer = self._client.upload_part(
                    **named, PartNumber=at + 1, Body=part, ContentLength=len(part)
                )
            found, wanted = _tag(answer), digests[at].hex()
            if _MD5.fullmatch(found) is None:
                raise Unfit(
                    f"part {at + 1} of {path} is tagged {found[:80]!r} there, which is no md5, as "
                    f"where a bucket encrypts with keys of its own: it cannot be checked"
                )
            if found != wanted:
                raise StorageError(
                    f"part {at + 1} of {path} has md5 {found} there, and was sent as {wanted}"
                )
            self._lease.advance(len(part))

        with ThreadPoolExecutor(self._lease.budget.streams) as threads:
            jobs = {threads.submit(send, at) for at in left}
            try:
                while jobs:
                    self._lease.check()
                    done, jobs = wait(jobs, WATCH_SECONDS, FIRST_EXCEPTION)
                    for job in done:
                        job.result()
            finally:
                self._ended.set()
                threads.shutdown(cancel_futures=True)

    def _take(self, count: int) -> int:
        """Wait until bytes may be sent; say how many."""
        if self._ended.is_set():
            raise ConnectionAbortedError("another part failed, or the attempt ended")
        return self._pace.take(self._place.host, count)


def _tag(answer: Mapping[str, Any]) -> str:
    return str(answer.get("ETag", "")).strip('"')


def part_digests(descriptor: int, content: Content, length: int, lease: Lease) -> list[bytes]:
    """Return the md5 of each part, from the ledger or by reading it."""
    count = max(1, -(-content.size // length))
    known = content.parts
    if known is not None and content.part_length == length and len(known) == count * MD5_BYTES:
        return [known[at : at + MD5_BYTES] for at in range(0, len(known), MD5_BYTES)]
    return [_md5(descriptor, at * length, length, lease) for at in range(count)]


def composite(digests: Sequence[bytes]) -> str:
    """Return the tag that an object of these parts has: the md5 of their md5s, and how many.

    Of one that was sent whole, it is its md5.
    """
    return f"{hashlib.md5(b''.join(digests), usedforsecurity=False).hexdigest()}-{len(digests)}"


def once(call: Callable[..., Any], **said: Any) -> Any:
    """Make an object, unless there is one by now; services that know no such condition do without.

    Raises:
        ClientError: as ``call``, with ``PreconditionFailed`` where there is one.
    """
    try:
        return call(**said, IfNoneMatch="*")
    except ClientError as error:
        if code_of(error) != "NotImplemented":
            raise
        if isinstance(body := said.get("Body"), Part):
            body.seek(0)
        return call(**said)


def _md5(descriptor: int, start: int, length: int, lease: Lease) -> bytes:
    digest = hashlib.md5(usedforsecurity=False)
    end = start + length
    while start < end and (block := os.pread(descriptor, min(BLOCK, end - start), start)):
        lease.check()
        digest.update(block)
        start += len(block)
    return digest.digest()
