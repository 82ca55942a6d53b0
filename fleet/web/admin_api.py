"""The admin's API, under the admin token."""

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict

from fleet.control import mirror, suspensions
from fleet.control.mirror import RuleSpec
from fleet.web.access import AdminDep, SettingsDep, StoreDep

router = APIRouter(prefix="/api/v1/admin", tags=["admin"], dependencies=[AdminDep])


class MirrorRequest(BaseModel):
    """What to mirror, and what must hold for it."""

    model_config = ConfigDict(extra="forbid")

    source: str
    rule: RuleSpec | None = None
    dataset: str = ""
    label: str = ""
    key: str = ""


@router.post("/mirror", status_code=202)
def mirror_dataset(
    request: MirrorRequest, store: StoreDep, settings: SettingsDep
) -> dict[str, Any]:
    """Mirror a dataset; local sources must lie below FLEET_IMPORT_ROOT."""
    mirrored = mirror.mirror_dataset(
        store,
        request.source,
        request.rule,
        dataset=request.dataset,
        label=request.label,
        key=request.key,
        import_root=mirror.required_root(settings),
        settings=settings,
    )
    return asdict(mirrored)


@router.post("/transfers/{transfer}/retry")
def retry(transfer: str, store: StoreDep) -> dict[str, str]:
    """Let a suspended transfer be tried again."""
    return {"transfer": transfer, "reason": suspensions.retry(store, transfer)}
