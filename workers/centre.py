"""The centre, as a worker sees it: a few HTTPS calls under the site's own token."""

from http import HTTPStatus
from types import TracebackType
from typing import Self

import httpx

from fleet.messages import (
    Heartbeat,
    HeartbeatAnswer,
    Order,
    Outcome,
    Verdict,
)
from fleet.settings import SiteSettings

_AWAY = (HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT)


class CentreAway(Exception):
    """The centre cannot be reached now; try again later."""


class CentreRefused(Exception):
    """The centre answered, and will answer the same again; the message is its reason."""


class Centre:
    """A connection to the centre; safe to use from several threads."""

    def __init__(self, settings: SiteSettings, *, timeout: float = 10.0) -> None:
        self._client = httpx.Client(
            base_url=settings.centre_url,
            headers={
                "Authorization": f"Bearer {settings.token}",
                "User-Agent": settings.user_agent,
            },
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
            CentreAway: nobody answers.
        """
        return Order.model_validate_json(self._send("POST", f"attempts/{attempt}/claim"))

    def heartbeat(self, attempt: str, beat: Heartbeat) -> HeartbeatAnswer:
        """Renew a lease.

        Raises:
            CentreRefused: there is no such attempt.
            CentreAway: nobody answers.
        """
        answer = self._send("POST", f"attempts/{attempt}/heartbeat", beat.model_dump_json())
        return HeartbeatAnswer.model_validate_json(answer)

    def report(self, outcome: Outcome) -> Verdict:
        """Report an outcome, whose blobs were sent before.

        Raises:
            CentreRefused: it does not fit the attempt.
            CentreAway: nobody answers.
        """
        path = f"attempts/{outcome.attempt}/report"
        return Verdict.model_validate_json(self._send("POST", path, outcome.model_dump_json()))

    def put_blob(self, name: str, data: bytes) -> None:
        """Send bytes that an outcome will name by their sha256.

        Raises:
            CentreRefused: they are too many.
            CentreAway: nobody answers.
        """
        self._send("PUT", f"blobs/{name}", data)

    def _send(self, method: str, path: str, content: str | bytes | None = None) -> bytes:
        headers = {"Content-Type": "application/json"} if isinstance(content, str) else None
        try:
            answer = self._client.request(
                method, f"/api/v1/worker/{path}", content=content, headers=headers
            )
        except httpx.TransportError as error:
            raise CentreAway(f"{self._client.base_url}: {error or type(error).__name__}") from error
        if answer.status_code in _AWAY or answer.is_server_error:
            raise CentreAway(f"{self._client.base_url} answered {answer.status_code}")
        if answer.is_error:
            raise CentreRefused(f"{answer.status_code}: {answer.text[:500]}")
        return answer.content
