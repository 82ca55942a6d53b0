"""Requests to one repository, and its answers.

Rules this module keeps:

- A request that only reads is asked again; one that writes never is, unless the repository said
  that it had no effect (429).  What came of it is read by whoever asked.
- The repository's limits are kept before they are met: after ``X-RateLimit-Remaining: 0`` nothing
  is asked until the reset, and ``Retry-After`` holds whatever status it came with.
- No answer is larger than ``MOST`` nor takes longer than ``SLOWEST``, redirects are followed within
  the repository only, and links in answers not at all.
- The token is in one header, and in no message.
"""

import json
import re
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self, TypeVar
from urllib.parse import quote, urlsplit

import httpx

from fleet.invenio.faults import Refused, RepositoryError, Unsure
from fleet.invenio.patience import TURNS, Patience
from fleet.invenio.pauses import pause
from fleet.invenio.shapes import RDM, Json, Nonsense, complaints

MOST: Final = 8 * 1024 * 1024
SLOWEST: Final = 300.0
_HOPS: Final = 3
_THROTTLED: Final = 429
_GIVEN: Final = frozenset({200, 206, 416})
_TOLD: Final = 300  # characters of a repository's own words
_LOCAL = frozenset({"127.0.0.1", "::1", "localhost"})
_ADVICE = {
    401: "check the token that is kept for this repository",
    403: "the token's account may not do this: check its scopes, and whose record it is",
    410: "it was removed for good by the repository's people: ask them",
    413: "what was sent is larger than the repository takes",
}
Read = TypeVar("Read")


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    headers: httpx.Headers
    body: bytes


class Calls:
    """A repository as one account, or without a token a guest, may use it; a context manager."""

    def __init__(
        self,
        url: str,
        agent: str,
        token: str = "",
        patience: Patience | None = None,
        timeout: float = 180.0,
    ) -> None:
        self.url = _checked(url)
        self.patience = patience or Patience()
        self._token = token
        self._free_at = 0.0
        headers = {"Accept": RDM, "Accept-Encoding": "identity", "User-Agent": agent}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        self._http = httpx.Client(
            base_url=self.url, headers=headers, timeout=timeout, trust_env=False
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        """Let go of all connections."""
        self._http.close()

    def get(
        self,
        path: str,
        doing: str,
        read: Callable[[Json], Read],
        params: dict[str, str] | None = None,
    ) -> Read | None:
        """Read something; None where there is none.

        Args:
            path: below the repository's URL, its parts quoted (see ``part``).
            doing: the record and the step, for messages.
            read: makes a value of the answer.
            params: of the query.

        Raises:
            Refused: the account may not read it.
            Unsure: it could not be read.
        """
        for turn in range(TURNS):
            try:
                answer = self._asked("GET", path, doing, params=params)
                if answer.status == httpx.codes.NOT_FOUND:
                    _json(answer, doing)  # a proxy's page tells nothing of what there is
                    return None
                return self._read(answer, doing, read)
            except Unsure as error:
                if turn + 1 == TURNS:
                    raise
                self.patience.back_off(turn + 1, error)
        raise AssertionError

    def send(
        self,
        method: str,
        path: str,
        doing: str,
        read: Callable[[Json], Read],
        body: Any = None,
    ) -> Read:
        """Ask once for something to be done.

        Raises:
            Refused: it was not done.
            Unsure: whether it was done is not known.
        """
        answer = self._asked(method, path, doing, json=body)
        return self._read(answer, doing, read)

    def upload(self, path: str, doing: str, size: int, blocks: Iterable[bytes]) -> Json:
        """Send bytes; ``blocks`` have ``size`` bytes together, and raise if they have not.

        Raises:
            Refused: they were not taken.
            Unsure: whether they were taken is not known.
        """
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size)}
        return self._told(self._once("PUT", path, doing, content=blocks, headers=headers), doing)

    @contextmanager
    def download(self, path: str, doing: str, headers: dict[str, str]) -> Iterator[httpx.Response]:
        """Ask for a file's bytes; the answer, with 200, 206 or 416, is given while it comes.

        Raises:
            Refused: they are not given; with status 404 there are none.
            Unsure: they could not be read, or broke off.
        """
        for _ in range(_HOPS + 1):
            with self._sent("GET", path, doing, headers={"Accept": "*/*", **headers}) as response:
                status = response.status_code
                if status in _GIVEN:
                    yield response
                    return
                answer = _Answer(status, response.headers, _bounded(response, doing))
            if not 300 <= status < 400:
                self._told(answer, doing)
                raise Unsure(f"{doing}: {self.url} answers HTTP {status}")
            path = self._hop(answer, doing)
        raise Unsure(f"{doing}: {self.url} sends from one place to the next")

    def _asked(self, method: str, path: str, doing: str, **more: Any) -> _Answer:
        """Ask; a 429 is waited out, as nothing was done."""
        hops = 0
        for _ in range(TURNS + _HOPS):
            answer = self._once(method, path, doing, **more)
            if answer.status == _THROTTLED:
                continue
            if method != "GET" or not 300 <= answer.status < 400 or hops == _HOPS:
                return answer
            hops += 1
            path = self._hop(answer, doing)
            more.pop("params", None)
        raise RepositoryError(f"{doing}: {self.url} answers HTTP 429 again and again")

    def _once(self, method: str, path: str, doing: str, **more: Any) -> _Answer:
        with self._sent(method, path, doing, **more) as response:
            return _Answer(response.status_code, response.headers, _bounded(response, doing))

    @contextmanager
    def _sent(self, method: str, path: str, doing: str, **more: Any) -> Iterator[httpx.Response]:
        """Ask in turn; give the answer while it comes."""
        seconds = self._free_at - self.patience.now()
        self.patience.wait(seconds, f"{doing}: {self.url} asks to be left alone")
        self.patience.turn()
        try:
            with self._http.stream(method, path, **more) as response:
                self._heed(response)
                yield response
        except httpx.LocalProtocolError as error:  # its words may be our own header, with the token
            raise RepositoryError(f"{doing}: it could not be asked of {self.url}") from error
        except httpx.HTTPError as error:
            why = self.plain(str(error)) or type(error).__name__
            raise Unsure(f"{doing}: no answer from {self.url} ({why})") from error

    def _heed(self, response: httpx.Response) -> None:
        now, status = self.patience.now(), response.status_code
        seconds = pause(status, response.headers, now)
        self._free_at = now + seconds
        if status in {_THROTTLED, httpx.codes.SERVICE_UNAVAILABLE}:
            self.patience.strained(seconds)

    def _read(self, answer: _Answer, doing: str, read: Callable[[Json], Read]) -> Read:
        body = self._told(answer, doing)
        try:
            return read(body)
        except Nonsense as error:
            said = self.plain(str(error))
            raise Nonsense(f"{doing}: the answer makes no sense: {said}") from None

    def _told(self, answer: _Answer, doing: str) -> Json:
        """Give the JSON of an answer that says that it was done."""
        if answer.status == httpx.codes.NO_CONTENT:
            return {}
        if 200 <= answer.status < 300:
            return _json(answer, doing)
        said = f"{doing}: {self.url} answers HTTP {answer.status}{self._words(answer)}"
        if answer.status >= 500 or answer.status < 400 or answer.status in {408, _THROTTLED}:
            raise Unsure(said)
        advice = _ADVICE.get(answer.status)
        raise Refused(f"{said}; {advice}" if advice else said, answer.status)

    def _words(self, answer: _Answer) -> str:
        """Give the repository's own words about a failure."""
        try:
            body = _json(answer, "")
        except Nonsense:
            return ""
        words = [body["message"]] if isinstance(body.get("message"), str) else []
        told = self.plain("; ".join([*words, *complaints(body)]))
        return f": {told}" if told else ""

    def plain(self, words: str) -> str:
        """Make a repository's words fit to be shown: short, printable, without the token."""
        if self._token:
            words = words.replace(self._token, "…")
        return re.sub(r"[\s\x00-\x1f\x7f-\x9f]+", " ", words)[:_TOLD]

    def _hop(self, answer: _Answer, doing: str) -> str:
        target = answer.headers.get("location", "")
        found, here = urlsplit(target), urlsplit(self.url)
        if (found.scheme, found.netloc) not in {("", ""), (here.scheme, here.netloc)}:
            raise Refused(f"{doing}: {self.url} leads elsewhere, where we do not go", answer.status)
        return f"{found.path}?{found.query}" if found.query else found.path


def part(name: str) -> str:
    """Quote a name that is one part of a path."""
    return quote(name, safe="")


def nothing(_: Json) -> None:
    """Read nothing of an answer but that it was done."""


def _checked(url: str) -> str:
    """Check where a repository is: a token goes over plain HTTP to this machine only."""
    found = urlsplit(url)
    safe = found.scheme == "https" or (found.scheme == "http" and found.hostname in _LOCAL)
    if (
        not safe
        or not found.hostname
        or found.username
        or found.path.strip("/")
        or found.query
        or found.fragment
    ):
        raise ValueError(f"{url[:200]!r} is no repository's URL: give one as https://zenodo.org")
    return url.rstrip("/")


def _bounded(response: httpx.Response, doing: str) -> bytes:
    body, end = bytearray(), time.monotonic() + SLOWEST
    for block in response.iter_bytes():
        body += block
        if len(body) > MOST or time.monotonic() > end:
            raise Nonsense(f"{doing}: the answer is longer than {MOST:,} bytes or {SLOWEST:.0f} s")
    return bytes(body)


def _json(answer: _Answer, doing: str) -> Json:
    kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json" and not kind.endswith("+json"):
        raise Nonsense(f"{doing}: the answer is {kind[:80] or 'of no type'!r} and no JSON")
    try:
        body = json.loads(answer.body)
    except (ValueError, RecursionError) as error:
        raise Nonsense(f"{doing}: the answer is no JSON") from error
    if not isinstance(body, dict):
        raise Nonsense(f"{doing}: the answer is no JSON object")
    return body
