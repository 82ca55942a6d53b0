"""``mirror_dataset``: from a source and a rule to a draft version that the scheduler takes up.

Asked for twice under one key, it is done once.
"""

import hashlib
import re
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import bindparam, func, insert
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col, delete, select

from fleet import importers
from fleet.control import facts, rules
from fleet.control.blueprints import Kept
from fleet.control.errors import RefusedError
from fleet.control.rules import RuleSpec
from fleet.importers.draft import Draft, DraftArtifact, ImportRefused
from fleet.importers.paths import collision_key
from fleet.planning import press
from fleet.planning.states import ArtifactState
from fleet.settings import CentreSettings
from fleet.store import locking, versioning
from fleet.store.database import Store
from fleet.store.tables import Artifact, Dataset, Request, Version

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,132}")
_ROWS_AT_ONCE = 1000
_IMPORT_MOST = timedelta(hours=1)  # after which an import that was not committed broke off


@dataclass(frozen=True)
class Mirrored:
    """What came of a request: the version, and what its admin should know."""

    version: str
    dataset: str
    label: str
    artifacts: int
    notes: tuple[str, ...]
    repeated: bool


def mirror_dataset(
    store: Store,
    source: str,
    rule: RuleSpec | None = None,
    *,
    dataset: str = "",
    label: str = "",
    key: str = "",
    import_root: Path | None = None,
    bundle: Kept | None = None,
    settings: CentreSettings | None = None,
) -> Mirrored:
    """Import ``source`` as a draft version of ``dataset``, and commit it with ``rule``.

    Args:
        store: where to.
        source: what ``importers.read_source`` reads.
        rule: what must hold for it; None: what held before, or a copy on every node.
        dataset: the dataset's id; empty: named after the source.
        label: the version's label; empty: today's date.
        key: the idempotency key; empty: made of the other arguments, what the source holds, and
            the day.
        import_root: the folder that local sources must lie in; None: anywhere.
        bundle: what made it, as one more of its artifacts.
        settings: what may be asked on the network of what it holds; None: nothing.

    Raises:
        RefusedError: the source or the names cannot be used; nothing was changed.
    """
    try:
        draft = importers.read_source(source, import_root=import_root, settings=settings)
    except ImportRefused as error:
        raise RefusedError(str(error)) from error
    if bundle is not None:
        draft = _with(draft, bundle)
    dataset = _checked("dataset", dataset or draft.name)
    with store.read() as session:
        _check_free(session, dataset)
        today = store.now(session).date().isoformat()
    label = _checked("version", label or today)
    asked = (source, rule.model_dump_json() if rule else "", dataset, label)
    key = key or _digest(*asked, *(repr(one) for one in draft.artifacts))
    known = _asked_before(store, key)
    if known:
        return known
    version = _begin(store, key, source, draft, dataset, label)
    for first in range(0, len(draft.artifacts), _ROWS_AT_ONCE):
        batch = enumerate(draft.artifacts[first : first + _ROWS_AT_ONCE], first + 1)
        rows = [_artifact(version, number, one) for number, one in batch]
        with store.write() as session:  # past the session: other writers wait meanwhile
            session.connection().execute(insert(Artifact), rows)
    with store.write() as session:
        _commit(session, store, key, version, rule)
    mirrored = _asked_before(store, key)
    if mirrored is None:
        raise RefusedError(f"request {key} was taken over while it was made; try again")
    return replace(mirrored, repeated=False)


def enter(session: Session, draft: Draft, dataset: str, label: str, now: datetime) -> Version:
    """Commit an edition: a draft of a few files that the centre keeps, under the dataset's rule."""
    held = session.get(Dataset, dataset) or _make(session, dataset, draft, now)  # by no old name
    version = _draft(session, "", draft, held, label, now)
    version.edition = True
    rows = [_artifact(version.id, 0, one) for one in draft.artifacts]
    session.connection().execute(insert(Artifact), rows)
    _hand_over(session, version.id, None, now)
    return version


def required_root(settings: CentreSettings) -> Path:
    """Return the folder that a request from outside may import from.

    Without one, no local path is allowed: whoever can send a request could otherwise publish any
    file that the centre can read.
    """
    return settings.import_root or settings.home / "imports"


def _with(draft: Draft, bundle: Kept) -> Draft:
    """Put a bundle among the files of a source."""
    own = collision_key(bundle.artifact.path)
    for one in draft.artifacts:
        if f"{collision_key(one.path)}/".startswith(f"{own}/"):
            raise RefusedError(
                f"the source has {one.path}, where the bundle of what made it is to lie: rename it"
            )
    return replace(
        draft,
        artifacts=(*draft.artifacts, bundle.artifact),
        notes=(*draft.notes, *bundle.notes),
    )


def _check_free(session: Session, dataset: str) -> None:
    """Refuse the dataset that the catalogue's editions are versions of, by any of its names."""
    found = versioning.find_dataset(session, dataset)
    if press.DATASET in (dataset, found.id if found is not None else ""):
        raise RefusedError(
            f"{dataset!r} is this fleet's own catalogue: give another name with --dataset"
        )


_FILES = (
    select(func.count()).select_from(Artifact).where(Artifact.version_id == bindparam("version"))
)
_LABELS = select(Version.label).where(Version.dataset_id == bindparam("dataset"))


def _asked_before(store: Store, key: str) -> Mirrored | None:
    with store.read() as session:
        request = session.get(Request, key)
        if request is None or not request.committed:
            return None
        version = session.get_one(Version, request.version_id)
        count = session.exec(_FILES, params={"version": version.id}).one()
        return Mirrored(
            version.id, version.dataset_id, version.label, count, tuple(version.notes), True
        )


def _begin(store: Store, key: str, source: str, draft: Draft, dataset: str, label: str) -> str:
    """Take the key and make an empty draft version under it; return the version's id.

    Raises:
        RefusedError: somebody else is at it just now.
    """
    busy = RefusedError("the same is being imported just now; ask again when that is done")
    try:
        with store.write() as session:
            now = store.now(session)
            request = session.get(Request, key, with_for_update=True)
            if request is None:
                request = Request(key=key, source=source, created_at=now)
                session.add(request)
            elif request.committed or request.created_at > now - _IMPORT_MOST:
                raise busy
            elif request.version_id is not None:
                _forget(session, request.version_id)
            held = versioning.find_dataset(session, dataset) or _make(session, dataset, draft, now)
            version = _draft(session, source, draft, held, label, now)
            request.version_id, request.created_at = version.id, now
            return version.id
    except IntegrityError as error:
        raise busy from error


def _make(session: Session, dataset: str, draft: Draft, now: datetime) -> Dataset:
    if other := versioning.same_but_for_case(session, dataset):
        raise RefusedError(
            f"there is a dataset {other!r}, and to many disks {dataset!r} is the same folder: "
            "write it as that one, or give it another id"
        )
    session.add(made := Dataset(id=dataset, title=draft.title, created_at=now))
    session.flush()
    return made


def _draft(
    session: Session, source: str, draft: Draft, dataset: Dataset, label: str, now: datetime
) -> Version:
    taken = session.exec(_LABELS, params={"dataset": dataset.id}).all()
    version = Version(
        dataset_id=dataset.id,
        label=_free_label(label, set(taken)),
        source=source,
        source_root=str(draft.root or ""),
        licence=draft.licence,
        licence_retrieved_at=now if draft.licence else None,
        doi=draft.doi or None,
        notes=list(draft.notes),
        created_at=now,
        reason="being imported",
    )
    session.add(version)
    session.flush()
    return version


def _artifact(version: str, number: int, one: DraftArtifact) -> dict[str, Any]:
    """Return a row of an artifact: to make an object of each would take most of an import."""
    return {
        "version_id": version,
        "path": one.path or f".refused/{number}",  # a path that no importer gives
        "origins": list(one.sources),
        "size": one.size,
        "sha256": one.sha256,
        "md5": one.md5,
        "media_type": one.media_type,
        "role": one.role,
        "state": ArtifactState.EXCLUDED if one.refused else ArtifactState.EXPECTED,
        "reason": one.refused,
    }


def _commit(
    session: Session, store: Store, key: str, version_id: str, spec: RuleSpec | None
) -> None:
    """Hand the draft over to the scheduler, with its rule, for which all is looked at anew."""
    request = session.get_one(Request, key, with_for_update=True)
    if request.version_id != version_id:
        return
    request.committed, request.created_at = True, store.now(session)
    _hand_over(session, version_id, spec, request.created_at)


def _hand_over(session: Session, version_id: str, spec: RuleSpec | None, now: datetime) -> None:
    version = locking.lock(session, Version, version_id)
    version.dirty, version.reason = True, "waits for the scheduler"
    if spec is None and facts.rule_of(session, version.dataset_id) is not None:
        return
    rules.give(session, version.dataset_id, spec or RuleSpec(), now)


def _forget(session: Session, version: str) -> None:
    """Take back a draft whose import broke off."""
    session.exec(delete(Artifact).where(col(Artifact.version_id) == version))
    session.exec(delete(Version).where(col(Version.id) == version))


def _free_label(label: str, taken: set[str]) -> str:
    candidate, number = label, 1
    while candidate in taken:
        number += 1
        candidate = f"{label}.{number}"
    return candidate


def _checked(what: str, name: str) -> str:
    if not _NAME.fullmatch(name):
        raise RefusedError(
            f"{what} {name!r}: use 1 to 133 letters, digits, '.', '_' and '-', "
            "beginning with a letter or digit"
        )
    return name


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
