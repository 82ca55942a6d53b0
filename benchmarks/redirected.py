"""Who is asked when redirects are measured: `python -m benchmarks.redirected KIND [STORE]`.

``fleet`` is the whole application over a store, ``starlette`` a bare route that makes a redirect of
what it is asked for, ``canned`` a socket that always says the same: what whoever asks can do.  Each
prints its port once it is ready.
"""

import asyncio
import socket
import sys
from datetime import UTC, datetime
from typing import Any

import uvicorn
from sqlalchemy import insert
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from fleet.control import sites
from fleet.control.sites import SiteSpec
from fleet.settings import CentreSettings
from fleet.store.database import Store
from fleet.store.migrate import upgrade
from fleet.store.tables import Artifact, Dataset, Replica, Shard, Version
from fleet.web.app import make_app

FILES, ALONE, COPIES = 1000, 100, 3
Row = dict[str, Any]
_A_SHARD: Row = Shard(version_id="", position=0, size=1, files=1, piece_length=1).model_dump()
_A_FILE: Row = Artifact(version_id="", path="", state="known").model_dump() | {"offset": 0}
_A_COPY: Row = Replica(shard_id="", site_id="", state="available").model_dump()
_COUNTRIES = ("CA", "US", "NL", "DE", "JP", "GB")
_SITES = 12
_ANSWER = b"HTTP/1.1 307 \r\nlocation: https://site.example/a\r\ncontent-length: 0\r\n\r\n"


def fill(url: str, artifacts: int) -> list[str]:
    """Make a store of that many files, in datasets of 1,000; return the paths of the redirector."""
    upgrade(url)
    store = Store(url)
    specs = [
        SiteSpec(
            id=f"site-{number:02}",
            kind="node",
            driver="posix",
            country=_COUNTRIES[number % len(_COUNTRIES)],
            read_url=f"https://site-{number:02}.example/mirror",
        )
        for number in range(_SITES)
    ]
    sites.apply(store, tuple(specs))
    paths = [path for number in range(artifacts // FILES) for path in _dataset(store, number)]
    store.close()
    return paths


def _dataset(store: Store, number: int) -> list[str]:
    """Publish a version whose first files are a shard each, and the others a bundle."""
    now, name = datetime.now(UTC), f"ca_statcan-2021A000011124_d4c-datapkg-census_{number:04}"
    version, label = f"ve-{number:04}", "v0.1.0-beta"
    shards = [f"sh-{number:04}-{one:04}" for one in range(ALONE + 1)]
    files = [f"processed/part_{one:04}.parquet" for one in range(FILES)]
    with store.write() as session:
        session.add(Dataset(id=name, created_at=now))
        session.flush()
        row = Version(id=version, dataset_id=name, label=label, state="published", created_at=now)
        row.sequence, row.published_at = 1, now
        session.add(row)
        session.flush()
        run = session.connection().execute
        run(insert(Shard), [_shard(one, version, at) for at, one in enumerate(shards)])
        run(insert(Artifact), [_file(one, version, shards, at) for at, one in enumerate(files)])
        run(
            insert(Replica),
            [
                _copy(shard, f"site-{(number + at + 4 * copy) % _SITES:02}", now)
                for at, shard in enumerate(shards)
                for copy in range(COPIES)
            ],
        )
    return [f"/d/{name}/{label}/{path}" for path in files]


def _shard(one: str, version: str, position: int) -> Row:
    files = 1 if position < ALONE else FILES - ALONE
    given = {"id": one, "version_id": version, "position": position, "files": files}
    return _A_SHARD | given | {"infohash": f"{hash(one) & (1 << 64) - 1:040x}"}


def _file(path: str, version: str, shards: list[str], at: int) -> Row:
    given = {"id": f"ar-{version}-{at}", "version_id": version, "path": path, "size": at}
    sha256 = f"{hash((version, path)) & (1 << 64) - 1:064x}"
    return _A_FILE | given | {"shard_id": shards[min(at, ALONE)], "sha256": sha256}


def _copy(shard: str, site: str, now: datetime) -> Row:
    when = {"verified_at": now, "arrived_at": now, "proved_at": now}
    return _A_COPY | when | {"id": f"re-{shard}-{site}", "shard_id": shard, "site_id": site}


async def _bare(request: Request) -> RedirectResponse:
    where = request.path_params
    url = f"https://site.example/mirror/{where['dataset']}/{where['version']}/{where['path']}"
    return RedirectResponse(url, 307)


class _Canned(asyncio.Protocol):
    """Says always the same."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        assert data.endswith(b"\r\n\r\n")
        self._transport.write(_ANSWER)


async def _can(listener: socket.socket) -> None:
    server = await asyncio.get_running_loop().create_server(_Canned, sock=listener)
    await server.serve_forever()


def main() -> None:
    """Serve until killed."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    print(listener.getsockname()[1], flush=True)
    kind = sys.argv[1]
    if kind == "canned":
        asyncio.run(_can(listener))
    app: ASGIApp = Starlette(routes=[Route("/d/{dataset}/{version}/{path:path}", _bare)])
    if kind == "fleet":
        settings = CentreSettings(trusted_proxies="127.0.0.0/8", country_header="CF-IPCountry")
        app = make_app(Store(sys.argv[2]), settings)
    config = uvicorn.Config(app, log_level="error", access_log=False, proxy_headers=False)
    uvicorn.Server(config).run([listener])


if __name__ == "__main__":
    main()
