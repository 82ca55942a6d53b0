"""How the Archive is asked: its S3-like API, its records, its search and its downloads.

From archive.org/developers: ias3.html, md-read.html, tasks.html, and help/aboutsearch.htm.

Rules this module keeps:

- Bodies are sent with their length, never chunked, and with their md5, which the Archive checks.
- Redirects are followed by hand and within the Archive's own domain: uploads with the keys, which
  go nowhere else, downloads without.  No setting of the environment is used.
- Requests and bytes wait for their turn in the provider's budget; that it asks us to slow down is
  told to the centre.
- Answers are bounded, and told apart by what is to be done about them (see ``contract``).
"""

import json
import logging
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final
from urllib.parse import quote

import httpx

from fleet.places import ItemsPlace
from workers.lease import Lease
from workers.pull.faults import plain
from workers.pull.pace import Pace
from workers.storage.contract import Absent, Corrupt, Denied, StorageError

SLOW: Final = 30.0  # seconds that we leave it alone, where it asks for it and does not say how long
ANSWER_MOST: Final = 256 * 1024 * 1024  # the record of an item of 500,000 files
REFUSAL_MOST: Final = 64 * 1024
FOUND_MOST: Final = 10_000  # items in one page of its search
TASKS_MOST: Final = 500  # in one list, more than an item was seen to be let have
_HOPS: Final = 5
_TIMEOUT: Final = httpx.Timeout(60.0, read=600.0)  # it digests an upload before it answers
NOTHING_THERE: Final = 416
PARTIAL: Final = 206
_ENDLESS: Final = "it is sent from one place to the next without end"
_ELEMENT: Final = r"<{}>([^<]*)</{}>"
# it would log each URL, and that which asks for a limit has a key in it
logging.getLogger("httpx").setLevel(logging.WARNING)


@dataclass(frozen=True, slots=True)
class Keys:
    """What items are written with."""

    key: str
    secret: str = field(repr=False)


class Client:
    """The Archive, as one attempt asks it; safe to use from several threads."""

    def __init__(self, place: ItemsPlace, keys: Keys | None, agent: str, lease: Lease) -> None:
        self._place, self._keys, self._lease = place, keys, lease
        self._pace = Pace(lease)
        headers = {"User-Agent": agent, "Accept-Encoding": "identity"}
        self._http = httpx.Client(headers=headers, trust_env=False, timeout=_TIMEOUT)

    def record(self, item: str) -> dict[str, Any]:
        """Return the record of an item; empty where there is none, or none yet."""
        what = f"the record of {item}"
        try:
            found = self._json(what, f"{self._place.read}/metadata/{quote(item)}")
        except Absent:
            return {}
        if not isinstance(found, dict):
            raise StorageError(f"{what} is no object")
        return found

    def tasks(self, item: str) -> Mapping[int, int]:
        """Return the run states of an item's tasks that have not ended, by their numbers."""
        what = f"the tasks of {item}"
        query = {"identifier": item, "catalog": "1", "summary": "0", "limit": str(TASKS_MOST)}
        found = self._json(what, f"{self._place.read}/services/tasks.php", query, self._keyed())
        try:
            tasks = found["value"]["catalog"]
            return {int(one["task_id"]): int(one["wait_admin"]) for one in tasks}
        except (KeyError, TypeError, ValueError) as error:
            raise StorageError(f"{what} cannot be read: {plain(str(found))}") from error

    def has_room(self, item: str) -> bool:
        """Whether it takes an upload to an item now; one that cannot tell has none."""
        query = {"check_limit": "1", "accesskey": self._own().key, "bucket": item}
        try:
            found = self._json(f"the queue of {item}", self._place.endpoint + "/", query)
        except _Unreadable:
            return False
        return isinstance(found, dict) and found.get("over_limit") == 0

    def search(self, prefix: str) -> Iterator[str]:
        """Name the items whose names begin so; its index may be hours behind."""
        query = {"q": f"identifier:{prefix}*", "fields": "identifier", "count": str(FOUND_MOST)}
        while True:
            found = self._json(
                "the search for items", f"{self._place.read}/services/search/v1/scrape", query
            )
            try:
                yield from [str(one["identifier"]) for one in found["items"]]
            except (KeyError, TypeError) as error:
                raise StorageError(f"its search answers {plain(str(found))}") from error
            if not found.get("cursor"):
                return
            query["cursor"] = str(found["cursor"])

    def put(
        self,
        path: str,
        at: tuple[str, str],
        headers: Mapping[str, str],
        body: Callable[[Callable[[int], int]], Iterator[bytes] | bytes],
    ) -> None:
        """Upload a file.

        Args:
            path: what people know it by.
            at: the item, and the name in it.
            headers: of the upload, its length included.
            body: makes the body, each time that it is sent; takes what says how much may go.
        """
        what = f"{path} cannot be sent to {at[0]}"
        url = f"{self._place.endpoint}/{quote('/'.join(at))}"
        for _ in range(_HOPS):
            host = _host(url)
            content = body(partial(self._pace.take, host))
            with (
                self._pace.stream(host),
                self._asked(
                    what, "PUT", url, headers={**self._keyed(), **headers}, content=content
                ) as answer,
            ):
                _bounded(what, answer, REFUSAL_MOST, cut=True)  # so that the connection can be kept
                if not answer.is_redirect:
                    return
                url = self._next(what, answer, self._place.endpoint)
        raise StorageError(f"{what}: {_ENDLESS}")

    def delete(self, path: str, at: tuple[str, str]) -> None:
        """Delete a file, and what was derived from it."""
        what = f"{path} cannot be removed from {at[0]}"
        url = f"{self._place.endpoint}/{quote('/'.join(at))}"
        headers = {"x-archive-cascade-delete": "1", "x-archive-keep-old-version": "0"}
        with self._asked(what, "DELETE", url, headers={**self._keyed(), **headers}) as answer:
            _bounded(what, answer, REFUSAL_MOST, cut=True)

    @contextmanager
    def download(
        self, path: str, at: tuple[str, str], headers: Mapping[str, str]
    ) -> Iterator[tuple[httpx.Response, Iterator[bytes]]]:
        """Ask for a file, through redirects; give the answer, and its bytes at the pace allowed."""
        what = f"{path} cannot be read from {at[0]}"
        url = f"{self._place.read}/download/{quote('/'.join(at))}"
        for _ in range(_HOPS):
            host = _host(url)
            with (
                self._pace.stream(host),
                self._asked(what, "GET", url, headers=headers) as answer,
            ):
                if not answer.is_redirect:
                    yield answer, self._paid(host, answer)
                    return
                url = self._next(what, answer, self._place.read)
        raise StorageError(f"{what}: {_ENDLESS}")

    def _paid(self, host: str, answer: httpx.Response) -> Iterator[bytes]:
        for block in answer.iter_raw():
            left = len(block)
            while left:
                left -= self._pace.take(host, left)
            yield block

    def _json(
        self,
        what: str,
        url: str,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        with self._asked(what, "GET", url, params=query, headers=headers) as answer:
            body = _bounded(what, answer, ANSWER_MOST)
        try:
            return json.loads(body)
        except (ValueError, RecursionError) as error:
            raise _Unreadable(
                f"{what} is no JSON: {plain(body[:200].decode(errors='replace'))}"
            ) from error

    @contextmanager
    def _asked(self, what: str, method: str, url: str, **more: Any) -> Iterator[httpx.Response]:
        """Ask for one thing, in turn; a refusal is raised, a redirect is not."""
        self._pace.request(_host(url))
        try:
            with self._http.stream(method, url, **more) as answer:
                self._judge(what, answer, _host(url))
                yield answer
        except httpx.HTTPError as error:
            raise StorageError(f"{what}: {plain(str(error)) or type(error).__name__}") from error

    def _judge(self, what: str, answer: httpx.Response, host: str) -> None:
        """Return if an answer is what was asked for.

        Raises:
            StorageError: it is not.
        """
        if answer.is_success or answer.is_redirect or answer.status_code == NOTHING_THERE:
            return
        status, said = answer.status_code, _said(what, answer)
        reason = f"{what}: {status} {said.code}: {said.message}".rstrip(": ")
        if said.spam:
            raise Denied(f"{reason}; write to info@archive.org, it takes no second try")
        if status == httpx.codes.NOT_FOUND:
            raise Absent(reason)
        if status in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN, 405}:
            raise Denied(reason)
        if said.code == "BadDigest":
            raise Corrupt(reason)
        if status in {httpx.codes.TOO_MANY_REQUESTS, httpx.codes.SERVICE_UNAVAILABLE}:
            self._lease.quotas.throttled(host, said.wait, time.monotonic())
            raise StorageError(reason, said.wait)
        raise StorageError(reason)

    def _next(self, what: str, answer: httpx.Response, own: str) -> str:
        """Return where a redirect leads.

        Raises:
            StorageError: out of the Archive.
        """
        try:
            url, own_url = answer.url.join(answer.headers.get("location", "")), httpx.URL(own)
        except httpx.InvalidURL as error:
            raise StorageError(f"{what}: it is sent to nowhere: {plain(str(error))}") from error
        domain = ".".join(own_url.host.split(".")[-2:])
        inside = url.host == own_url.host or url.host.endswith(f".{domain}")
        if url.scheme != own_url.scheme or not inside:
            raise StorageError(f"{what}: it is sent to {plain(str(url))}, which is not {domain}")
        return str(url)

    def _own(self) -> Keys:
        if self._keys is None:
            raise Denied("nothing is written there without keys")
        return self._keys

    def _keyed(self) -> dict[str, str]:
        return {"Authorization": f"LOW {self._own().key}:{self._own().secret}"}


class _Unreadable(StorageError):
    """An answer that is no JSON: the Archive shows pages of its own when it is overloaded."""


@dataclass(frozen=True, slots=True)
class _Refusal:
    code: str
    message: str
    wait: float
    spam: bool


def _said(what: str, answer: httpx.Response) -> _Refusal:
    """Read what a refusal says, as XML where it is."""
    text = _bounded(what, answer, REFUSAL_MOST, cut=True).decode(errors="replace")

    def element(name: str) -> str:
        found = re.search(_ELEMENT.format(name, name), text)
        return plain(found[1]) if found else ""

    try:
        wait = max(1.0, float(answer.headers.get("retry-after", SLOW)))
    except ValueError:
        wait = SLOW
    message = element("Resource") if "spam" in element("Resource") else element("Message")
    return _Refusal(element("Code"), message, wait, "appears to be spam" in text)


def _bounded(what: str, answer: httpx.Response, most: int, *, cut: bool = False) -> bytes:
    """Read a body of at most so many bytes; of a longer one the beginning, if that will do."""
    body = bytearray()
    for block in answer.iter_bytes():
        body += block
        if len(body) > most:
            if cut:
                break
            raise StorageError(f"{what} is longer than {most:,} bytes")
    return bytes(body[:most])


def _host(url: str) -> str:
    return httpx.URL(url).netloc.decode()
