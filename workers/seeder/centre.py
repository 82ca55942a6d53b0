"""The centre, as a seeder sees it: a few HTTPS calls under the site's own token.

Answers are read as bytes and within bounds; redirects are not followed, because the token would
travel along.
"""

import asyncio
from collections.abc import Sequence
from http import HTTPStatus
from typing import Final, NamedTuple, Self

import httpx
from pydantic import TypeAdapter

from fleet.messages import SeedReport, TrafficReport, UploadReport
from fleet.settings import SiteSettings
from fleet.torrent.parsed import MAX_TORRENT
from workers.seeder.desired import RefusedError

MAX_LIST: Final = 64 * 1024 * 1024
ANSWER_SECONDS: Final = 60.0
SILENCE_SECONDS: Final = 10.0

_REPORTS: Final = TypeAdapter(tuple[SeedReport, ...])
_NOT_NOW: Final = {
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.FORBIDDEN,
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus.TOO_MANY_REQUESTS,
}


class CentreAwayError(Exception):
    """The centre does not answer this site now; the message says how it does not."""


class Listing(NamedTuple):
    """The list of seeds as it came, and its entity tag."""

    data: bytes
    etag: str


class SeedCentre:
    """A connection to the centre."""

    def __init__(self, settings: SiteSettings) -> None:
        """Prepare to call the centre that ``settings`` names.

        Raises:
            ValueError: the site has no token.
        """
        self._client = httpx.AsyncClient(
            base_url=f"{settings.centre_url.rstrip('/')}/api/v1/worker/",
            headers={
                "Authorization": f"Bearer {settings.token}",
                "User-Agent": settings.user_agent,
                "Accept-Encoding": "identity",
            },
            timeout=SILENCE_SECONDS,
            trust_env=False,
        )

    async def __aenter__(self) -> Self:
        """Keep connections open until the end."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close them."""
        await self._client.aclose()

    async def desired(self, known: str) -> Listing | None:
        """Ask for the list of seeds; None while it is the one tagged ``known``.

        Raises:
            CentreAwayError: nobody answers.
            RefusedError: the answer cannot be used.
        """
        headers = {"If-None-Match": known} if known else {}
        status, data, etag = await self._send("GET", "seeds", MAX_LIST, headers)
        return None if status == HTTPStatus.NOT_MODIFIED else Listing(data, etag)

    async def torrent(self, infohash: str) -> bytes:
        """Ask for one torrent.

        Raises:
            CentreAwayError: nobody answers.
            RefusedError: the centre does not have it.
        """
        return (await self._send("GET", f"seeds/{infohash}.torrent", MAX_TORRENT, {}))[1]

    async def report(self, reports: Sequence[SeedReport], uploads: UploadReport) -> None:
        """Tell how every torrent is doing, and what was uploaded this month.

        Raises:
            CentreAwayError: nobody answers.
            RefusedError: the centre does not take it.
        """
        headers = {"Content-Type": "application/json"}
        body = _REPORTS.dump_json(tuple(reports))
        await self._send("POST", "seeds/report", MAX_LIST, headers, body)
        body = uploads.model_dump_json().encode()
        await self._send("POST", "uploads/report", MAX_LIST, headers, body)

    async def traffic(self, report: TrafficReport) -> None:
        """Tell what the site's uplinks carried.

        Raises:
            CentreAwayError: nobody answers.
            RefusedError: the centre does not take it.
        """
        headers = {"Content-Type": "application/json"}
        body = report.model_dump_json().encode()
        await self._send("POST", "traffic", MAX_LIST, headers, body)

    async def _send(
        self, method: str, path: str, most: int, headers: dict[str, str], body: bytes | None = None
    ) -> tuple[int, bytes, str]:
        """Return the status, the body and the entity tag of an answer."""
        data = bytearray()
        try:
            async with (
                asyncio.timeout(ANSWER_SECONDS),
                self._client.stream(method, path, headers=headers, content=body) as answer,
            ):
                async for chunk in answer.aiter_raw():
                    data += chunk
                    if len(data) > most:
                        raise RefusedError(f"the answer is longer than {most} bytes")
        except (httpx.HTTPError, TimeoutError) as error:
            raise CentreAwayError(
                f"{self._client.base_url.host} does not answer: {error or type(error).__name__}"
            ) from error
        if answer.status_code in _NOT_NOW or answer.is_server_error:
            raise CentreAwayError(f"{self._client.base_url.host} answers {answer.status_code}")
        if not answer.is_success and answer.status_code != HTTPStatus.NOT_MODIFIED:
            raise RefusedError(f"the centre answers {answer.status_code} to {method} {path}")
        return answer.status_code, bytes(data), answer.headers.get("ETag", "")
