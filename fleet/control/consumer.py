"""The centre's own Celery application: what an admin may enqueue by name, from Flower or Celery.

What was asked for counts once it is committed; the queue itself is admin-only by the broker's
access rules.
"""

from dataclasses import asdict
from typing import Any

import structlog

from fleet import wakeups
from fleet.control import blueprints, mirror, suspensions
from fleet.settings import CentreSettings
from fleet.store.database import Store

_log = structlog.get_logger()
settings = CentreSettings()
store = Store(settings.database)
app = wakeups.make_app("fleet", settings.broker_url)
app.conf.task_default_queue = wakeups.ADMIN_QUEUE


@app.task(name="fleet.mirror_dataset")
def mirror_dataset(
    source: str,
    rule: dict[str, object] | None = None,
    dataset: str = "",
    label: str = "",
    key: str = "",
    bundle: dict[str, object] | None = None,
) -> dict[str, Any]:
    """Mirror a dataset; local sources, and what made it, must lie below FLEET_IMPORT_ROOT."""
    root, kept = mirror.required_root(settings), None
    if bundle is not None:
        kept = blueprints.keep(settings, blueprints.within(root, blueprints.parse(bundle)))
    mirrored = mirror.mirror_dataset(
        store,
        source,
        None if rule is None else mirror.parse_rule(rule),
        dataset=dataset,
        label=label,
        key=key,
        import_root=root,
        bundle=kept,
        settings=settings,
    )
    _log.info("mirroring", **asdict(mirrored))
    return asdict(mirrored)


@app.task(name="fleet.retry_transfer")
def retry_transfer(transfer: str) -> str:
    """Let a suspended transfer be tried again."""
    return suspensions.retry(store, transfer)
