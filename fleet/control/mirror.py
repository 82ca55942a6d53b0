"""``mirror_dataset``: from a source and a rule to a draft version that the scheduler takes up.

Asked for twice under one key, it is done once.
"""

import hashlib
import re
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from sqlalchemy import func
from sqlmodel import Session, col, delete, select

from fleet import importers
from fleet.control import facts
from fleet.control.errors import RefusedError
from fleet.importers.draft import Draft, DraftArtifact, ImportRefused
from fleet.planning import selector
from fleet.planning.states import ArtifactState
from fleet.settings import CentreSettings
from fleet.store import holdings
from fleet.store.database import Store
from fleet.store.tables import Artifact, Dataset, Request, Rule, Version

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,132}")
_ROWS_AT_ONCE = 2000
SPREADS = ("jurisdiction", "country", "region", "operator", "provider")


class RuleSpec(BaseModel):
    """A rule as a person or a program writes it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    copies: int | None = Field(default=None, ge=1)
    min: int = Field(default=1, ge=1)
    selector: str = "kind=node"
    spread_by: tuple[str, ...] = ()
    priority: int = 0
    deadline: datetime | None = None
    expires: datetime | None = None

    @field_validator("selector")
    @classmethod
    def _readable(cls, value: str) -> str:
        selector.parse(value)
        return value

    @field_validator("spread_by")
    @classmethod
    def _named(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if name not in SPREADS:
                raise ValueError(f"cannot spread by {name!r}, only by {', '.join(SPREADS)}")
        return value


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
) -> Mirrored:
    """Import ``source`` as a draft version of ``dataset``, and commit it with ``rule``.

    Args:
        store: where to.
        source: a URL, or the path of a list or folder.
        rule: what must hold for it; None: what held before, or a copy on every node.
        dataset: the dataset's id; empty: named after the source.
        label: the version's label; empty: today's date.
        key: the idempotency key; empty: made of the other arguments and the day.
        import_root: the folder that local sources must lie in; None: anywhere.

    Raises:
        RefusedError: the source or the names cannot be used; nothing was changed.
    """
    with store.read() as session:
        today = store.now(session).date().isoformat()
    key = key or _digest(source, rule.model_dump_json() if rule else "", dataset, label, today)
    known = _asked_before(store, key)
    if known:
        return known
    try:
        draft = importers.read_source(source, import_root=import_root)
    except ImportRefused as error:
        raise RefusedError(str(error)) from error
    dataset = _checked("dataset", dataset or draft.name)
    with store.write() as session:
        version = _begin(session, store, source, draft, dataset, label or today)
    for first in range(0, len(draft.artifacts), _ROWS_AT_ONCE):
        with store.write() as session:
            rows = enumerate(draft.artifacts[first : first + _ROWS_AT_ONCE], first + 1)
            session.add_all(_artifact(version.id, number, one) for number, one in rows)
    with store.write() as session:
        if session.get(Request, key) is not None:
            _forget(session, version.id)
        else:
            _commit(session, store, key, source, version.id, rule)
    mirrored = _asked_before(store, key)
    if mirrored is None:
        raise RefusedError(f"request {key} vanished while it was made; try again")
    return replace(mirrored, repeated=mirrored.version != version.id)


def required_root(settings: CentreSettings) -> Path:
    """Return the folder that a request from outside may import from.

    Without one, no local path is allowed: whoever can send a request could otherwise publish any
    file that the centre can read.
    """
    return settings.import_root or settings.home / "imports"


def parse_rule(data: dict[str, object]) -> RuleSpec:
    """Read a rule that came from outside.

    Raises:
        RefusedError: it cannot be read; the message says which part.
    """
    try:
        return RuleSpec.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise RefusedError(f"rule, {where}: {first['msg']}") from error


def _asked_before(store: Store, key: str) -> Mirrored | None:
    with store.read() as session:
        request = session.get(Request, key)
        if request is None or request.version_id is None:
            return None
        version = session.get_one(Version, request.version_id)
        count = session.exec(
            select(func.count()).select_from(Artifact).where(Artifact.version_id == version.id)
        ).one()
        return Mirrored(
            version.id, version.dataset_id, version.label, count, tuple(version.notes), True
        )


def _begin(
    session: Session, store: Store, source: str, draft: Draft, dataset: str, label: str
) -> Version:
    now = store.now(session)
    found = holdings.find_dataset(session, dataset)
    if found is None:
        found = Dataset(id=dataset, created_at=now)
        session.add(found)
        session.flush()
    taken = session.exec(select(Version.label).where(Version.dataset_id == found.id)).all()
    version = Version(
        dataset_id=found.id,
        label=_free_label(_checked("version", label), set(taken)),
        source=source,
        source_root=str(draft.root or ""),
        notes=list(draft.notes),
        created_at=now,
        reason="being imported",
    )
    session.add(version)
    return version


def _artifact(version: str, number: int, one: DraftArtifact) -> Artifact:
    return Artifact(
        version_id=version,
        path=one.path or f".refused/{number}",  # a path that no importer gives
        origins=list(one.sources),
        size=one.size,
        sha256=one.sha256,
        md5=one.md5,
        media_type=one.media_type,
        state=ArtifactState.EXCLUDED if one.refused else ArtifactState.EXPECTED,
        reason=one.refused,
    )


def _commit(
    session: Session,
    store: Store,
    key: str,
    source: str,
    version_id: str,
    spec: RuleSpec | None,
) -> None:
    now = store.now(session)
    version = session.get_one(Version, version_id)
    version.dirty, version.reason = True, "waits for the scheduler"
    session.add(Request(key=key, source=source, version_id=version_id, created_at=now))
    if spec is None and facts.rule_of(session, version.dataset_id) is not None:
        return
    spec = spec or RuleSpec()
    session.add(
        Rule(
            dataset_id=version.dataset_id,
            copies=spec.copies,
            min_copies=spec.min,
            selector=spec.selector,
            spread_by=list(spec.spread_by),
            priority=spec.priority,
            deadline=spec.deadline,
            expires=spec.expires,
        )
    )


def _forget(session: Session, version: str) -> None:
    """Take back a draft whose request was committed by somebody else meanwhile."""
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
