"""What anyone may ask: datasets, where their copies are and why, torrents, magnets, health."""

from dataclasses import asdict
from datetime import datetime
from typing import Any

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import ValidationError
from sqlalchemy.exc import SQLAlchemyError

from fleet.control import reports, timetables, torrents, views, why
from fleet.web.access import SettingsDep, StoreDep

router = APIRouter(prefix="/api/v1", tags=["public"])
_REPORT_BYTES = 8 * 1024


@router.get("/health")
def health(store: StoreDep, request: Request) -> dict[str, str]:
    """Tell whether the store can be read; if not, of when it is what downloads are sent by."""
    try:
        with store.read() as session:
            return {"status": "operational", "now": store.now(session).isoformat()}
    except SQLAlchemyError:
        known: datetime | None = request.app.state.redirector.snapshot.at
    as_of = {"redirects_as_of": known.isoformat()} if known else {}
    return {"status": "degraded", "reason": "the database is away", **as_of}


@router.get("/datasets")
def datasets(store: StoreDep) -> list[dict[str, Any]]:
    """List the datasets and their versions."""
    with store.read() as session:
        return [asdict(one) for one in views.datasets(session)]


@router.get("/datasets/{dataset}")
def dataset(dataset: str, store: StoreDep) -> dict[str, Any]:
    """Tell where one dataset's newest version is."""
    with store.read() as session:
        return asdict(views.dataset(session, dataset, store.now(session)))


@router.get("/why/{name}")
def explain(name: str, store: StoreDep) -> dict[str, Any]:
    """Explain a dataset, version, shard, replica, transfer, attempt, artifact or site."""
    with store.read() as session:
        return asdict(why.explain(session, name, store.now(session)))


@router.post("/reports", status_code=202)
async def report(request: Request, store: StoreDep) -> dict[str, str]:
    """Tell that a site sent wrong bytes of a file: that copy is then checked.

    The body is ``{"dataset", "version", "path", "site", "wrong"}``, of 8 KiB at most.  While that
    site has enough to check the answer is 429, with ``Retry-After``, and nothing is kept.
    """
    body = b""
    async for block in request.stream():
        body += block
        if len(body) > _REPORT_BYTES:
            raise HTTPException(413, f"a report has {_REPORT_BYTES} bytes at most")
    try:
        said = reports.Report.model_validate_json(body)
    except ValidationError as error:
        raise HTTPException(422, _first(error)) from error
    return {"detail": await run_in_threadpool(reports.take, store, said)}


def _first(error: ValidationError) -> str:
    """Say what is wrong with a body, without repeating it."""
    fault = error.errors(include_url=False, include_context=False, include_input=False)[0]
    where = ".".join(str(part) for part in fault["loc"])
    return f"{where}: {fault['msg']}" if where else fault["msg"]


@router.get("/traffic.json")
def traffic(store: StoreDep) -> dict[str, Any]:
    """Tell what sites' and providers' weeks usually are, and the windows of the next 14 days."""
    with store.read() as session:
        return asdict(timetables.all_of(session, store.now(session)))


@router.get("/traffic/{site}.bwlimit")
def bwlimit(site: str, store: StoreDep) -> Response:
    """Return a site's quiet hours as a timetable for rclone's `--bwlimit`."""
    with store.read() as session:
        found = timetables.of_site(session, site, store.now(session))
    return Response(found.bwlimit + "\n", media_type="text/plain")


@router.get("/traffic/{site}.ics")
def calendar(site: str, store: StoreDep) -> Response:
    """Return a site's windows of the next 14 days as a calendar."""
    with store.read() as session:
        text = timetables.calendar(session, site, store.now(session))
    return Response(text, media_type="text/calendar")


@router.get("/torrents/{infohash}.torrent")
def torrent(infohash: str, store: StoreDep, settings: SettingsDep) -> Response:
    """Return a torrent, with the sites that hold a verified copy as its web seeds."""
    with store.read() as session:
        data = torrents.torrent_file(session, infohash, settings.trackers)
    return Response(
        data,
        media_type="application/x-bittorrent",
        headers={"Content-Disposition": f'attachment; filename="{infohash}.torrent"'},
    )


@router.get("/torrents/{infohash}.magnet")
def magnet_link(infohash: str, store: StoreDep, settings: SettingsDep) -> Response:
    """Return a magnet link, with the trackers and the peers that the fleet runs."""
    with store.read() as session:
        link = torrents.magnet_link(session, infohash, settings.trackers)
    return Response(link, media_type="text/plain")
