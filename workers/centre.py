"""The centre, as a worker sees it: a few HTTPS calls under the site's own token.

Rules this module keeps:

- Only the centre's own word is a refusal: a few statuses, with its API's JSON.  A proxy's page, a
  token that is being changed or a fault of the server says nothing about the work, which waits.
- The token is read for each call, so that a new one needs no restart.
"""

import hashlib
from types import TracebackType
from typing import Self, TypeVar

import httpx
from pydantic import ValidationError

from fleet.messages import Grant, Heartbeat, HeartbeatAnswer, Message, Order, Outcome, Verdict
from fleet.settings import SiteSettings

_M = TypeVar("_M", bound=Message)
_REFUSES = (404, 409, 413, 422)
_KNOWS_US_NOT = (401, 403)
_TOO_OFTEN = 429


class CentreAway(Exception):
    """Nobody answers, or nobody who would hear this site; try again later."""


class CentreFailed(CentreAway):
    """Somebody answered, but not with the centre's word on this call; another may succeed."""


class CentreRefused(Exception):
    """The centre answered, and will answer the same again; the message is its reason."""


class Centre:
    """A connection to the centre; safe to use from several threads."""

    def __init__(self, settings: SiteSettings, *, timeout: float = 10.0) -> None:
        self._settings = settings
        self._client = httpx.Client(
            base_url=settings.centre_url,
            headers={"User-Agent": settings.user_agent},
            timeout=timeout,
            trust_env=False,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._client.close()

    def claim(self, attempt: str) -> Order:
        """Claim an announced attempt.

        Raises:
            CentreRefused: somebody has it already, or it is no longer wanted.
            CentreAway: it cannot be heard now.
        """
        return _read(Order, self._send("POST", f"attempts/{attempt}/claim"))

    def heartbeat(self, attempt: str, beat: Heartbeat) -> HeartbeatAnswer:
        """Renew a lease.

        Raises:
            CentreRefused: there is no such attempt.
            CentreAway: it cannot be heard now.
        """
        path = f"attempts/{attempt}/heartbeat"
        return _read(HeartbeatAnswer, self._send("POST", path, beat.model_dump_json()))

    def grant(self, attempt: str) -> Grant:
        """Ask anew for what opens the site that an attempt works for.

        Raises:
            CentreRefused: there is nothing that does, or the attempt has ended.
            CentreAway: it cannot be heard now.
        """
        return _read(Grant, self._send("POST", f"attempts/{attempt}/grant"))

    def report(self, outcome: Outcome) -> Verdict:
        """Report an outcome, whose blobs were sent before.

        Raises:
            CentreRefused: it does not fit the attempt.
            CentreAway: it cannot be heard now.
        """
        path = f"attempts/{outcome.attempt}/report"
        return _read(Verdict, self._send("POST", path, outcome.model_dump_json()))

    def put_blob(self, name: str, data: bytes) -> None:
        """Send bytes that an outcome will name by their sha256.

        Raises:
            CentreRefused: they are too many.
            CentreAway: it cannot be heard now.
        """
        self._send("PUT", f"blobs/{name}", data)

    def blob(self, name: str) -> bytes:
        """Fetch the bytes that an order names by their sha256.

        Raises:
            CentreRefused: it has none such.
            CentreAway: it cannot be heard now, or sent other bytes.
        """
        answer = self._send("GET", f"blobs/{name}")
        if hashlib.sha256(answer.content).hexdigest() != name:
            raise CentreFailed(f"{answer.url} answered with other bytes than those of that sha256")
        return answer.content

    def _send(self, method: str, path: str, content: str | bytes | None = None) -> httpx.Response:
        headers = {"Content-Type": "application/json"} if isinstance(content, str) else {}
        try:
            headers["Authorization"] = f"Bearer {self._settings.token}"
        except (OSError, ValueError) as error:
            raise CentreAway(f"no token to show to the centre: {error}") from error
        try:
            answer = self._client.request(
                method, f"/api/v1/worker/{path}", content=content, headers=headers
            )
        except httpx.RequestError as error:
            raise CentreAway(f"{self._client.base_url}: {error or type(error).__name__}") from error
        if not answer.is_success:
            raise _fault(answer, self._settings.site)
        return answer


def _fault(answer: httpx.Response, site: str) -> CentreAway | CentreRefused:
    """Judge an answer that is no success."""
    status = answer.status_code
    if status in _REFUSES and _is_of_our_api(answer):
        return CentreRefused(f"{status}: {answer.text[:500]}")
    where = f"{answer.url.scheme}://{answer.url.netloc.decode()}"
    if status in _KNOWS_US_NOT:
        return CentreAway(
            f"{where} answered {status}: the centre does not know this site's token; "
            f"run `fleet site token {site}` there, and bring its file here"
        )
    if status == _TOO_OFTEN:
        return CentreAway(f"{where} answered {status}: it wants fewer requests")
    return CentreFailed(f"{where} answered {status} to {answer.request.method} {answer.url.path}")


def _is_of_our_api(answer: httpx.Response) -> bool:
    try:
        body = answer.json()
    except ValueError:
        return False
    return isinstance(body, dict) and "detail" in body


def _read(kind: type[_M], answer: httpx.Response) -> _M:
    try:
        return kind.model_validate_json(answer.content)
    except ValidationError as error:
        raise CentreFailed(
            f"{answer.url} answered something else than a {kind.__name__}; "
            "is a proxy in between, or another version of Fleet?"
        ) from error
