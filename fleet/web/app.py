"""`fleet server`: one FastAPI application over one store."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from uuid import uuid4

import structlog
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from fleet import __version__
from fleet.control import offices
from fleet.control.errors import FleetError, NotFoundError, RefusedError
from fleet.settings import CentreSettings
from fleet.store.database import Store
from fleet.web import admin_api, pages, public_api, worker_api

_log = structlog.get_logger()
_SEEN_SECONDS = 2.0
_STATUS: dict[type[Exception], int] = {NotFoundError: 404, RefusedError: 409}


def make_app(store: Store, settings: CentreSettings) -> FastAPI:
    """Make the application that serves ``store``."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        task = asyncio.create_task(_stay_in_office(store))
        yield
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    app = FastAPI(
        title="Fleet",
        version=__version__,
        description="Keeps open data alive. Workers use /api/v1/worker with their site's token, "
        "admins /api/v1/admin with the admin token; the rest is public.",
        lifespan=lifespan,
    )
    app.state.store, app.state.settings = store, settings
    for router in (worker_api.router, admin_api.router, public_api.router, pages.router):
        app.include_router(router)
    app.add_exception_handler(FleetError, _refuse)
    return app


def _refuse(_request: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"detail": str(error)}, status_code=_STATUS.get(type(error), 400))


async def _stay_in_office(store: Store) -> None:
    """Note that workers can renew their leases here; while nobody does, none expires.

    A database that fails is asked again: were this to end, no lease would ever expire.
    """
    holder, trouble = uuid4().hex, ""
    while True:
        before, trouble = trouble, ""
        try:
            await asyncio.to_thread(_sign, store, holder)
        except SQLAlchemyError as error:
            # The driver's own words: SQLAlchemy's add the parameters, which are never the same.
            trouble = str(error.orig if isinstance(error, DBAPIError) else error)
        if trouble and trouble != before:
            _log.warning("the server is out of office", reason=trouble)
        elif before and not trouble:
            _log.info("the server is in office again")
        await asyncio.sleep(_SEEN_SECONDS / 4)


def _sign(store: Store, holder: str) -> None:
    with store.write() as session:
        now = store.now(session)
        offices.hold(session, offices.SERVER, holder, _SEEN_SECONDS, now)
