"""The real application under a real server on loopback, and those who talk to it."""

import asyncio
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from fleet.control import sites
from fleet.settings import CentreSettings
from fleet.store.database import Store
from fleet.web.app import make_app
from tests.centre_support import Centre

PATIENCE = 20.0


class _Server(uvicorn.Server):
    """Says when it is up or could not come up, and ends at once instead of at its next tick."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.settled, self.running = threading.Event(), threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        try:
            await super().startup(sockets)
        finally:
            self.settled.set()

    async def main_loop(self) -> None:
        self._loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        self.running.set()
        await self._over.wait()

    def end(self) -> None:
        if self.started and self.running.wait(PATIENCE):
            self._loop.call_soon_threadsafe(self._over.set)


@contextmanager
def serving(store: Store, settings: CentreSettings, *, port: int = 0) -> Iterator[str]:
    """Serve ``store`` on loopback, on a free port or on ``port``; yield the server's URL."""
    config = uvicorn.Config(
        make_app(store, settings),
        host="127.0.0.1",
        port=port,
        log_level="warning",
        proxy_headers=False,
        timeout_graceful_shutdown=3,
    )
    server = _Server(config)
    thread = threading.Thread(target=server.run, name="api")
    thread.start()
    try:
        assert server.settled.wait(PATIENCE), "the server did not come up"
        assert server.started, "the server could not start"
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.end()
        thread.join(PATIENCE)


def three_sites(store: Store, folder: Path, settings: CentreSettings | None = None) -> Centre:
    """A centre with three sites and nothing to do."""
    centre = Centre(store, folder)
    if settings is not None:
        centre.settings = settings
    centre.apply_sites("toronto", "amsterdam", "netcup")
    centre.open_doors()
    return centre


@dataclass
class Api:
    """A served centre, and the tokens of its sites."""

    url: str
    centre: Centre
    client: httpx.Client
    tokens: dict[str, str] = field(default_factory=dict)

    def token(self, site: str) -> str:
        """The site's token, made when it is first asked for."""
        if site not in self.tokens:
            self.tokens[site] = sites.make_token(self.centre.store, site)
        return self.tokens[site]

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> httpx.Response:
        """Ask as anybody may."""
        return self.client.get(path, headers=headers)

    def ask(self, site: str, method: str, path: str, **more: Any) -> httpx.Response:
        """Ask the control API as a site would."""
        headers = {"Authorization": f"Bearer {self.token(site)}"} | more.pop("headers", {})
        return self.client.request(method, f"/api/v1/worker/{path}", headers=headers, **more)

    def announced(self) -> tuple[str, str]:
        """Tick; return the first attempt that was announced, and its site."""
        self.centre.tick()
        return self.centre.announced()[0]


@contextmanager
def served(centre: Centre, *, port: int = 0) -> Iterator[Api]:
    """Serve a test's centre."""
    with (
        serving(centre.store, centre.settings, port=port) as url,
        httpx.Client(base_url=url, timeout=PATIENCE, trust_env=False) as client,
    ):
        yield Api(url, centre, client)
