"""The admin's API, under the admin token."""

import tempfile
from dataclasses import asdict
from typing import Any

from fastapi import APIRouter
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict
from starlette.background import BackgroundTask

from fleet.control import blueprints, exports, mirror, publications, published, suspensions
from fleet.control.blueprints import BundleSpec
from fleet.control.rules import RuleSpec
from fleet.web.access import AdminDep, SettingsDep, StoreDep

_BLOCK = 1024 * 1024

router = APIRouter(prefix="/api/v1/admin", tags=["admin"], dependencies=[AdminDep])


class MirrorRequest(BaseModel):
    """What to mirror, and what must hold for it."""

    model_config = ConfigDict(extra="forbid")

    source: str
    rule: RuleSpec | None = None
    dataset: str = ""
    label: str = ""
    key: str = ""
    bundle: BundleSpec | None = None


@router.post("/mirror", status_code=202)
def mirror_dataset(
    request: MirrorRequest, store: StoreDep, settings: SettingsDep
) -> dict[str, Any]:
    """Mirror a dataset; local sources, and what made it, must lie below FLEET_IMPORT_ROOT."""
    root, bundle = mirror.required_root(settings), None
    if request.bundle is not None:
        bundle = blueprints.keep(settings, blueprints.within(root, request.bundle))
    mirrored = mirror.mirror_dataset(
        store,
        request.source,
        request.rule,
        dataset=request.dataset,
        label=request.label,
        key=request.key,
        import_root=root,
        bundle=bundle,
        settings=settings,
    )
    return asdict(mirrored)


class PublishRequest(BaseModel):
    """A version, by its id or as DATASET/VERSION, and a repository; else those its rule selects."""

    model_config = ConfigDict(extra="forbid")

    version: str
    at: str = ""


@router.post("/publish", status_code=202)
def publish(request: PublishRequest, store: StoreDep) -> list[dict[str, Any]]:
    """Publish a version in repositories, or try again what was refused."""
    version = publications.ask(store, request.version, request.at)
    with store.read() as session:
        return [asdict(one) for one in published.of_version(session, version)]


@router.get("/ledger.parquet")
def ledger(store: StoreDep, dataset: str | None = None) -> StreamingResponse:
    """Tell what is known of every file and where it lies: of a dataset, or of all."""
    file = tempfile.TemporaryFile()  # noqa: SIM115 - it is closed once it was sent
    try:
        with store.read() as session:
            exports.write(session, exports.select(session, dataset), file, lambda _rows: None)
        file.seek(0)
    except BaseException:
        file.close()
        raise
    return StreamingResponse(
        iter(lambda: file.read(_BLOCK), b""),
        media_type="application/vnd.apache.parquet",
        headers={"Content-Disposition": 'attachment; filename="ledger.parquet"'},
        background=BackgroundTask(file.close),
    )


@router.post("/transfers/{transfer}/retry")
def retry(transfer: str, store: StoreDep) -> dict[str, str]:
    """Let a suspended transfer be tried again."""
    return {"transfer": transfer, "reason": suspensions.retry(store, transfer)}
