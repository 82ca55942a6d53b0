"""Items of the Archive under the contract of storages (see ``contract``).

Rules this module keeps:

- What is there is read before anything is sent, once nothing is on its way that an attempt before
  may have sent.  An upload takes the place of what has its name, whatever a client says: so none is
  made where other bytes are, nor into an item that is not ours.
- A file counts as written once the item's record lists it with our md5: until then nobody can read
  it.  Of an item that its first upload makes, the title, the collection and the folder that it
  holds are said; no more is known of a version where files are written.
- Whether it takes uploads now is asked before each.
"""

import base64
import contextlib
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Final
from urllib.parse import quote

from fleet.places import ItemsPlace
from fleet.planning.items import FOLDERS, identifier, is_own, locate
from workers.lease import Lease
from workers.storage.archive.client import NOTHING_THERE, PARTIAL, Client, Keys
from workers.storage.archive.records import MARK, Patience, Record, Records, patiently
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
    checked,
    md5_of,
    refuse,
    same,
)

_GB: Final = 10**9
CAPABILITIES: Final = Capabilities(
    # https://help.archive.org/help/uploading-what-is-not-ok-or-not-ok-to-upload/: "Uploaded files
    # to items do not exceed either 500 files or 500GB of data"
    object_most=500 * _GB,
    files_most=500,
    total_most=500 * _GB,
    check="md5",
    at_once=32,
)
_PLAIN: Final = re.compile(r"(?!uri\()[!-~]([ -~]*[!-~])?")
_RANGE: Final = re.compile(r"bytes (\d+)-\d+/")
_ROOT: Final = "."


class Archive:
    """The objects of a site at the Internet Archive."""

    def __init__(
        self,
        place: ItemsPlace,
        keys: Keys | None,
        agent: str,
        lease: Lease | None = None,
        expects: int = 0,
        patience: Patience | None = None,
    ) -> None:
        """Ask nothing yet.

        Args:
            place: where the items are.
            keys: to write with; without them it is only read.
            agent: what to call ourselves.
            lease: whose budget is used.
            expects: how many bytes an item will have at least, which the Archive wants to know
                when it is made.
            patience: how long to wait.
        """
        self.capabilities = CAPABILITIES
        self._place, self._expects = place, expects
        self._lease, self._patience = lease or Lease(), patience or Patience()
        self._client = Client(place, keys, agent, self._lease)
        self._records = Records(self._client, self._patience, self._lease)

    def stat(self, path: str) -> Stored | None:
        """Tell of the file at a path; None where there is none, or it is not taken in yet."""
        at = self._at(path)
        return self._found(path, at, self._records.get(at[0]))

    def read(self, path: str, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        """Read a file, or a part of it."""
        at = self._at(path)
        if length == 0:
            return
        end = "" if length is None else start + length - 1
        ranged = {"Range": f"bytes={start}-{end}"} if start or length is not None else {}
        with self._client.download(path, at, ranged) as (answer, blocks):
            if answer.status_code == NOTHING_THERE:
                return
            told = _RANGE.match(answer.headers.get("content-range", ""))
            skip, left = start - (int(told[1]) if told else 0), length
            if skip < 0 or (told is None and answer.status_code == PARTIAL):
                raise StorageError(f"{path} cannot be read: it came from another byte on")
            for block in blocks:
                part = block[skip:] if left is None else block[skip : skip + left]
                skip = max(0, skip - len(block))
                left = None if left is None else left - len(part)
                if part:
                    yield part
                if left == 0:
                    return

    def list(self, folder: str = "") -> Iterator[Stored]:
        """Tell of every file below a folder.

        Of a folder above those of versions it is what the Archive's search finds, which may be
        hours behind.
        """
        names = checked(folder).split("/") if folder else []
        items = {identifier(self._place.prefix, names[:FOLDERS])}
        if len(names) < FOLDERS:
            items |= patiently(
                lambda: set(self._client.search(self._place.prefix)), self._patience, self._lease
            )
        below = f"{folder}/" if folder else ""
        stored = [one for item in items for one in self._files(item) if one.path.startswith(below)]
        yield from sorted(stored, key=lambda one: one.path)

    def write(self, path: str, content: Content, lease: Lease) -> Stored:
        """Upload a file, and wait until it was taken in."""
        path = checked(path)
        refuse(self.capabilities, path, content)
        at = self._at(path)
        if is_own(*at):
            raise Unfit(f"{path} would be {at[1]} in item {at[0]}, which the Archive makes itself")
        md5 = md5_of(content, lease)
        sent = partial(self._sent, path, at, content, md5, lease)
        self._records.settle(at[0], lease)
        try:
            if patiently(sent, self._patience, lease):
                lease.advance(content.size)
                self._wait_until_listed(path, at, content, md5, lease)
        except BaseException:
            self._records.unsettle(at[0])
            raise
        return Stored(path, content.size, content.sha256, md5, md5)

    def remove(self, path: str) -> None:
        """Remove a file, and wait until it is gone; one that is not there is fine."""
        item, name = at = self._at(path)
        self._records.settle(item, self._lease)
        if self._found(path, at, self._records.get(item)) is None:
            return
        with contextlib.suppress(Absent):
            patiently(partial(self._client.delete, path, at), self._patience, self._lease)
        said = f"{path} is gone: {item} lists it still"
        self._records.wait_until(item, lambda found: name not in found.files, self._lease, said)

    def _sent(
        self, path: str, at: tuple[str, str], content: Content, md5: str, lease: Lease
    ) -> bool:
        """Send a file, in one try; False if it was there."""
        if self._is_there(path, at, content, md5):
            return False
        what = f"{at[0]} has room in its queue"
        self._records.wait_for(lambda _: self._client.has_room(at[0]), lease, what)
        lease.check_live()
        body = partial(_body, content, lease)
        self._client.put(path, at, self._headers(path, content, md5), body)
        return True

    def _wait_until_listed(
        self, path: str, at: tuple[str, str], content: Content, md5: str, lease: Lease
    ) -> None:
        """Return once a file is there whole.

        Raises:
            Corrupt: another is.
        """
        item, name = at
        said = f"{path} is taken in: {item} does not list it yet"
        record = self._records.wait_until(item, lambda one: name in one.files, lease, said)
        found = record.files[name]
        if (found.size, found.md5) != (content.size, md5):
            raise Corrupt(
                f"{path}: {item} has {found.size:,} bytes of md5 {found.md5}, and was sent "
                f"{content.size:,} of {md5}"
            )

    def _is_there(self, path: str, at: tuple[str, str], content: Content, md5: str) -> bool:
        """Whether our bytes are there.

        Raises:
            Taken: others are, or the item is not ours.
        """
        record = self._records.get(at[0])
        if record.is_there and record.folder != _folder(path):
            raise Taken(
                f"{path} has no place: there is an item {at[0]} of others already, and nothing was "
                "changed; give the site another prefix"
            )
        found = self._found(path, at, record)
        return found is not None and same(path, found, replace(content, md5=md5))

    def _found(self, path: str, at: tuple[str, str], record: Record) -> Stored | None:
        found = record.files.get(at[1])
        if found is None or record.folder != _folder(path):
            return None
        return replace(found, path=path)

    def _files(self, item: str) -> Iterator[Stored]:
        """Tell of the files of an item, if it is one of ours."""
        record = self._records.get(item)
        if record.folder is None:
            return
        names = [] if record.folder == _ROOT else record.folder.split("/")
        if identifier(self._place.prefix, names) == item:
            for name, one in record.files.items():
                yield replace(one, path="/".join((*names, name)))

    def _headers(self, path: str, content: Content, md5: str) -> dict[str, str]:
        """Return the headers of an upload; those of metadata count for the one that makes it."""
        folder = _folder(path)
        metadata = {
            "mediatype": "data",
            "title": self._place.prefix if folder == _ROOT else folder.replace("/", " "),
            MARK: folder,
        }
        if self._place.collection:
            metadata["collection"] = self._place.collection
        return {
            "Content-Length": str(content.size),
            "Content-Type": content.media_type,
            "Content-MD5": base64.b64encode(bytes.fromhex(md5)).decode(),
            "x-archive-auto-make-bucket": "1",
            "x-archive-queue-derive": "0",
            "x-archive-keep-old-version": "0",
            "x-archive-size-hint": str(max(self._expects, content.size)),
            **{f"x-archive-meta-{name}": _plain(value) for name, value in metadata.items()},
        }

    def _at(self, path: str) -> tuple[str, str]:
        return locate(self._place.prefix, checked(path).split("/"))


def _folder(path: str) -> str:
    """Name the folder that the item of a path holds."""
    return "/".join(path.split("/")[:-1][:FOLDERS]) or _ROOT


def _plain(value: str) -> str:
    """Write a value of metadata as a header takes it."""
    return value if _PLAIN.fullmatch(value) else f"uri({quote(value, safe='')})"


def _body(content: Content, lease: Lease, take: Callable[[int], int]) -> Iterator[bytes] | bytes:
    """Make the body of an upload; an empty one is no stream, which would be sent in chunks."""
    return _blocks(content, lease, take) if content.size else b""


def _blocks(content: Content, lease: Lease, take: Callable[[int], int]) -> Iterator[bytes]:
    left = content.size
    with content.file.open("rb", buffering=0) as file:
        while left and (block := file.read(take(min(BLOCK, left)))):
            lease.check()
            left -= len(block)
            yield block
