"""The web as the centre may see it while it imports: guarded where it connects, and bounded.

Rules this module keeps:

- Only addresses that may be asked are connected to (``fleet/guard.py``).
- Redirects are followed by hand, each checked like the first, at most five, never from https to
  http.
- A document is bounded in bytes, and all that one import fetches in time.
- Who asks for patience (429, 503, …) gets it twice, for as long as it says but no longer than a
  minute.
- No proxy, netrc or other setting of the environment is read, and nothing is sent that is secret.
"""

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Self
from urllib.parse import urljoin

import httpcore
import httpx

from fleet.guard import ForbiddenAddressError, Guard, TooLateError
from fleet.importers.draft import ImportRefused, ItemRefused, show, show_url
from fleet.importers.url import checked_url
from fleet.settings import CentreSettings

MAX_HOPS = 5
MAX_SECONDS = 900.0
"""Longest that one import may fetch for."""

_PATIENCE = 60.0  # seconds that a host may ask us to wait, once
_TRIES = 3
_SILENCE = 30.0
_REDIRECTS = {301, 302, 303, 307, 308}
_BUSY = {429, 500, 502, 503, 504}
_Headers = list[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Document:
    """What was fetched, and from where it came in the end."""

    url: str
    data: bytes


class Web:
    """A client for one import; use it as a context manager."""

    def __init__(self, settings: CentreSettings) -> None:
        self._headers = [
            (b"User-Agent", settings.user_agent.encode("ascii", "replace")),
            (b"Accept", b"application/json, */*;q=0.5"),
            (b"Accept-Encoding", b"identity"),
        ]
        self._until = time.monotonic() + MAX_SECONDS
        self._pool = httpcore.ConnectionPool(
            ssl_context=httpx.create_ssl_context(trust_env=False),
            network_backend=Guard(settings.allow_networks, self._until),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._pool.close()

    def get(self, url: str, *, most: int) -> Document:
        """Fetch a document of at most ``most`` bytes.

        Raises:
            ImportRefused: it may not be asked for, is not there, or does not come within bounds.
        """
        asked = url
        for _ in range(MAX_HOPS + 1):
            try:
                asked = checked_url(asked)
            except ItemRefused as refusal:
                raise ImportRefused(f"{show_url(asked)} {refusal}") from None
            found = self._patiently(asked, most)
            if isinstance(found, Document):
                return found
            if asked.startswith("https:") and not found.startswith("https:"):
                raise ImportRefused(f"{show_url(asked)} redirects from https to {show_url(found)}")
            asked = found
        raise ImportRefused(f"{show_url(url)} redirects more than {MAX_HOPS} times")

    def _patiently(self, url: str, most: int) -> Document | str:
        """Ask once, and again where the host asks for patience; a text is where it redirects to."""
        for tried in range(1, _TRIES + 1):
            found = self._once(url, most)
            if not isinstance(found, _Busy):
                return found
            wait = found.wait if found.wait is not None else float(tried)
            late = time.monotonic() + wait > self._until
            if tried == _TRIES or wait > _PATIENCE or late:
                asks = "" if found.wait is None else f" and asks to wait {found.wait:,.0f} s"
                raise ImportRefused(f"{show_url(url)} answers {found.status}{asks}; try again then")
            time.sleep(wait)
        raise AssertionError

    def _once(self, url: str, most: int) -> "Document | str | _Busy":
        limits = {"connect": _SILENCE, "read": _SILENCE, "write": _SILENCE, "pool": _SILENCE}
        try:
            with self._pool.stream(
                "GET", url, headers=self._headers, extensions={"timeout": limits}
            ) as answer:
                return _judged(url, answer, most)
        except ImportRefused:
            raise
        except ForbiddenAddressError as error:
            raise ImportRefused(f"{show(error.host)}: {error.why}") from None
        except TooLateError:
            raise ImportRefused(
                f"it takes longer than {MAX_SECONDS:g} s to ask for what is there"
            ) from None
        except httpcore.TimeoutException:
            raise ImportRefused(f"{show_url(url)} gave no answer in {_SILENCE:g} s") from None
        except (httpcore.NetworkError, httpcore.ProtocolError, ValueError) as error:
            raise ImportRefused(f"{show_url(url)} cannot be had ({show(str(error))})") from None


@dataclass(frozen=True, slots=True)
class _Busy:
    """A host asks for patience; for how long, if it says."""

    status: int
    wait: float | None


def _judged(url: str, answer: httpcore.Response, most: int) -> Document | str | _Busy:
    """Read an answer; a text is where it redirects to."""
    location = _field(answer.headers, b"location")
    if answer.status in _REDIRECTS and location:
        return urljoin(url, location)
    if answer.status in _BUSY:
        return _Busy(answer.status, _retry_after(answer.headers))
    if answer.status != 200:
        raise ImportRefused(f"{show_url(url)} answers {answer.status}")
    if _field(answer.headers, b"content-encoding") not in {"", "identity"}:
        raise ImportRefused(f"{show_url(url)} answers in an encoding not asked for")
    body = bytearray()
    for block in answer.iter_stream():
        body += block
        if len(body) > most:
            raise ImportRefused(f"{show_url(url)} is larger than {most:,} bytes")
    return Document(url, bytes(body))


def _field(headers: _Headers, name: bytes) -> str:
    return next((value.decode("latin-1") for key, value in headers if key.lower() == name), "")


def _retry_after(headers: _Headers) -> float | None:
    said = _field(headers, b"retry-after").strip()
    if said.isascii() and said.isdigit():
        return float(said[:9])
    try:
        return max(0.0, (parsedate_to_datetime(said) - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError):
        return None
