"""Rules as they are given to datasets; of several the one that was given last holds."""

from datetime import datetime
from typing import Final

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from sqlmodel import Session

from fleet.control.errors import NotFoundError, unreadable
from fleet.planning import selector
from fleet.store import versioning
from fleet.store.database import Store
from fleet.store.tables import Rule

SPREADS: Final = ("jurisdiction", "country", "region", "operator", "provider")


class RuleSpec(BaseModel):
    """A rule as a person or a program writes it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    copies: int | None = Field(default=None, ge=1)
    min: int = Field(default=1, ge=1)
    selector: str = "kind=node"
    spread_by: tuple[str, ...] = ()
    priority: int = 0
    deadline: AwareDatetime | None = None
    expires: AwareDatetime | None = None

    @field_validator("min")
    @classmethod
    def _reachable(cls, value: int, info: ValidationInfo) -> int:
        copies = info.data.get("copies")
        if copies is not None and value > copies:
            raise ValueError(
                f"{value} is more than the number of copies, {copies}: ask for more copies, or for "
                "a smaller min"
            )
        return value

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


def parse(data: dict[str, object]) -> RuleSpec:
    """Read a rule that came from outside.

    Raises:
        RefusedError: it cannot be read; the message says which part.
    """
    try:
        return RuleSpec.model_validate(data)
    except ValidationError as error:
        raise unreadable("rule", error) from error


def change(store: Store, dataset: str, spec: RuleSpec) -> str:
    """Have this hold for a dataset from now on, in place of what held before; return its id.

    Raises:
        NotFoundError: there is no such dataset.
    """
    with store.write() as session:
        found = versioning.find_dataset(session, dataset)
        if found is None:
            raise NotFoundError(f"there is no dataset {dataset!r}; `fleet status` names them")
        give(session, found.id, spec, store.now(session))
        return found.id


def give(session: Session, dataset: str, spec: RuleSpec, now: datetime) -> None:
    """Give a dataset a rule, for which all of it is looked at anew."""
    session.add(
        Rule(
            dataset_id=dataset,
            copies=spec.copies,
            min_copies=spec.min,
            selector=spec.selector,
            spread_by=list(spec.spread_by),
            priority=spec.priority,
            deadline=spec.deadline,
            expires=spec.expires,
            look_at=now,
        )
    )
