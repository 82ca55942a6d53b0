"""The centre's own Celery application: what an admin may enqueue by name, from Flower or Celery.

What was asked for counts once it is committed; the queue itself is admin-only by the broker's
access rules.
"""

import threading
from dataclasses import asdict
from typing import Any

import structlog

from fleet import wakeups
from fleet.control import blueprints, mirror, publications, published, records, rules, suspensions
from fleet.settings import CentreSettings
from fleet.store.database import Store

_AT_ONCE = 2  # publications: imports are not to wait for them
_log = structlog.get_logger()
_speaking = threading.BoundedSemaphore(_AT_ONCE)
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
        None if rule is None else rules.parse(rule),
        dataset=dataset,
        label=label,
        key=key,
        import_root=root,
        bundle=kept,
        settings=settings,
    )
    _log.info("mirroring", **asdict(mirrored))
    return asdict(mirrored)


@app.task(name="fleet.publish")
def publish(version: str, at: str = "") -> list[dict[str, Any]]:
    """Publish a version, named by its id or as DATASET/VERSION, where its rule says or at a site.

    What comes of it is in ``fleet publish`` and ``fleet why``.
    """
    name = publications.ask(store, version, at)
    with store.read() as session:
        return [asdict(one) for one in published.of_version(session, name)]


@app.task(name=wakeups.ADVANCE)
def advance_publication(publication: str) -> str:
    """Do the next step of a publication; what finds no room is woken again."""
    if not _speaking.acquire(blocking=False):
        return "enough others are spoken of with repositories just now"
    try:
        return records.advance(store, settings, publication)
    finally:
        _speaking.release()


@app.task(name=wakeups.PRESS)
def write_catalogue() -> str:
    """Write the catalogue, sign it, and give it to the sites, as far as that is due."""
    from fleet.control import printing  # noqa: PLC0415 - what writes tables takes a second

    return printing.issue(store, settings)


@app.task(name="fleet.retry_transfer")
def retry_transfer(transfer: str) -> str:
    """Let a suspended transfer be tried again."""
    return suspensions.retry(store, transfer)
