"""`fleet server`: one FastAPI application over one store."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from uuid import uuid4

import structlog
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from starlette.types import Receive, Scope, Send

from fleet import __version__
from fleet.control import offices
from fleet.control.errors import BusyError, FleetError, NotFoundError, RefusedError
from fleet.control.snapshot import REFRESH_SECONDS, Snapshot
from fleet.settings import CentreSettings
from fleet.store.database import Store
from fleet.web import admin_api, catalogue, pages, public_api, redirector, worker_api, works
from fleet.web.askers import Askers
from fleet.web.derived import Derived
from fleet.web.redirector import Redirector

_log = structlog.get_logger()
_SEEN_SECONDS = 2.0
_STATUS: dict[type[Exception], int] = {NotFoundError: 404, RefusedError: 409, BusyError: 429}


class _App(FastAPI):
    """The application, before which the redirector answers what is its to answer.

    What FastAPI does for each request takes longer than a redirect.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] == "http" and scope["path"].startswith(redirector.BELOW):
            await self.state.redirector(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


def make_app(store: Store, settings: CentreSettings) -> FastAPI:
    """Make the application that serves ``store``."""
    snapshot = Snapshot()
    redirects = Redirector(snapshot, Askers(settings), Derived(snapshot, store, settings))

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        tasks = [
            asyncio.create_task(_stay_in_office(store)),
            asyncio.create_task(_stay_informed(snapshot, store)),
        ]
        yield
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    app = _App(
        title="Fleet",
        version=__version__,
        description="Keeps open data alive. Workers use /api/v1/worker with their site's token, "
        "admins /api/v1/admin with the admin token; the rest is public.",
        lifespan=lifespan,
    )
    app.state.store, app.state.settings = store, settings
    app.state.redirector = redirects
    for room in (worker_api, admin_api, public_api, catalogue, works, pages):
        app.include_router(room.router)
    app.add_exception_handler(FleetError, _refuse)
    return app


def _refuse(_request: Request, error: Exception) -> JSONResponse:
    later = {"Retry-After": str(error.seconds)} if isinstance(error, BusyError) else None
    return JSONResponse({"detail": str(error)}, _STATUS.get(type(error), 400), later)


async def _stay_in_office(store: Store) -> None:
    """Note that workers can renew their leases here; while nobody does, none expires.

    Were this to end because a database fails, no lease would ever expire.
    """
    sign = partial(_sign, store, uuid4().hex)
    await _repeat(sign, _SEEN_SECONDS / 4, "out of office", "in office again")


async def _stay_informed(snapshot: Snapshot, store: Store) -> None:
    """Read for the redirector what changed; of what it knows it goes on redirecting."""
    read = partial(snapshot.refresh, store)
    await _repeat(read, REFRESH_SECONDS, "redirecting from memory alone", "reading the store again")


async def _repeat(do: Callable[[], None], seconds: float, failed: str, well: str) -> None:
    """Do something for ever; what fails is tried again."""
    trouble = ""
    while True:
        before, trouble = trouble, ""
        try:
            await asyncio.to_thread(do)
        except SQLAlchemyError as error:
            # The driver's own words: SQLAlchemy's add the parameters, which are never the same.
            trouble = str(error.orig if isinstance(error, DBAPIError) else error)
        except Exception as error:  # noqa: BLE001 - what ends here would never be done again
            trouble = f"{type(error).__name__}: {error}"
        if trouble and trouble != before:
            _log.warning(f"the server is {failed}", reason=trouble)
        elif before and not trouble:
            _log.info(f"the server is {well}")
        await asyncio.sleep(seconds)


def _sign(store: Store, holder: str) -> None:
    with store.write() as session:
        now = store.now(session)
        offices.hold(session, offices.SERVER, holder, _SEEN_SECONDS, now)
