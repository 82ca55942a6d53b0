"""The control API: what a site's worker and seeder say to the centre, under the site's token."""

import hashlib
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Header, HTTPException, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse

from fleet.control import (
    blobs,
    grants,
    leases,
    ledger,
    observations,
    origins,
    seeds,
    torrents,
    traffic,
    uploads,
)
from fleet.messages import (
    DesiredSeeds,
    Grant,
    Heartbeat,
    HeartbeatAnswer,
    Observation,
    Order,
    Outcome,
    SeedReport,
    TrafficReport,
    UploadReport,
    Verdict,
)
from fleet.web.access import SettingsDep, SiteDep, StoreDep

router = APIRouter(prefix="/api/v1/worker", tags=["worker"])
_BLOB_MOST = 64 * 1024 * 1024


@router.post("/attempts/{attempt}/claim")
def claim(attempt: str, site: SiteDep, store: StoreDep, settings: SettingsDep) -> Order:
    """Claim an announced attempt; 409 when somebody has it already."""
    return leases.claim(store, settings, attempt, site)


@router.post("/attempts/{attempt}/heartbeat")
def heartbeat(
    attempt: str, beat: Heartbeat, site: SiteDep, store: StoreDep, settings: SettingsDep
) -> HeartbeatAnswer:
    """Renew an attempt's lease, and hear whether to go on."""
    return leases.heartbeat(store, settings, attempt, site, beat)


@router.post("/attempts/{attempt}/report")
def report(
    attempt: str, outcome: Outcome, site: SiteDep, store: StoreDep, settings: SettingsDep
) -> Verdict:
    """Report an attempt's outcome; doing so again is harmless."""
    if outcome.attempt != attempt or outcome.site != site:
        raise HTTPException(422, f"the outcome is not of attempt {attempt} at {site}")
    return ledger.apply(store, settings, outcome)


@router.post("/attempts/{attempt}/grant")
def grant(attempt: str, site: SiteDep, store: StoreDep, settings: SettingsDep) -> Grant:
    """Return anew what opens the site that an attempt works for, as before it expires."""
    return grants.renew(store, settings, attempt, site)


@router.put("/blobs/{sha256}", status_code=204)
async def put_blob(sha256: str, request: Request, _site: SiteDep, store: StoreDep) -> None:
    """Send the bytes that an outcome will name; at most 64 MiB."""
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > _BLOB_MOST:
            raise HTTPException(413, f"a blob has at most {_BLOB_MOST} bytes")
    if hashlib.sha256(data).hexdigest() != sha256:
        raise HTTPException(422, "the bytes do not have that sha256; send them again")
    await run_in_threadpool(blobs.keep, store, sha256, bytes(data))


@router.get("/blobs/{sha256}")
def get_blob(sha256: str, _site: SiteDep, store: StoreDep) -> Response:
    """Read the piece hashes that an order names; any site may, they are in its torrent."""
    return Response(blobs.read(store, sha256), media_type="application/octet-stream")


@router.get("/origins/{artifact}")
def origin(artifact: str, site: SiteDep, store: StoreDep, settings: SettingsDep) -> FileResponse:
    """Read a file that lies at the centre: of a folder that was imported, or a bundle."""
    path: Path = origins.locate(store, settings, artifact, site)
    return FileResponse(path, media_type="application/octet-stream")


@router.get("/seeds")
def desired(
    site: SiteDep,
    store: StoreDep,
    response: Response,
    if_none_match: Annotated[str, Header()] = "",
) -> DesiredSeeds:
    """Return all that this site shall seed; 304 while that is what it knows."""
    found = seeds.listing(store, site)
    if if_none_match.strip('"') == found.revision:
        raise HTTPException(304)
    response.headers["ETag"] = f'"{found.revision}"'
    return found.message


@router.get("/seeds/{infohash}.torrent")
def torrent(infohash: str, _site: SiteDep, store: StoreDep, settings: SettingsDep) -> Response:
    """Return the torrent of one of them."""
    with store.read() as session:
        data = torrents.torrent_file(session, infohash, settings.trackers)
    return Response(data, media_type="application/x-bittorrent")


@router.post("/seeds/report", status_code=204)
def seed_report(reports: list[SeedReport], site: SiteDep, store: StoreDep) -> None:
    """Tell how each torrent is doing."""
    seeds.report(store, site, reports)


@router.post("/uploads/report", status_code=204)
def upload_report(told: UploadReport, site: SiteDep, store: StoreDep) -> None:
    """Tell what was uploaded this month, and what may be uploaded now."""
    uploads.report(store, site, told)


@router.post("/traffic", status_code=204)
def traffic_report(told: TrafficReport, site: SiteDep, store: StoreDep) -> None:
    """Tell what the site's uplinks carried, its own transfers left out."""
    traffic.report(store, site, told)


@router.post("/observations", status_code=204)
def observe(observation: Observation, site: SiteDep, store: StoreDep) -> None:
    """Offer evidence; it can only demote."""
    if observation.site != site:
        raise HTTPException(422, f"site {site} cannot speak for {observation.site}")
    observations.keep(store, observation)
