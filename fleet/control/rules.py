"""Rules as they are given to datasets; of several the one that was given last holds."""

from datetime import datetime
from typing import TYPE_CHECKING

from sqlmodel import Session

from fleet.control.errors import NotFoundError
from fleet.store import holdings
from fleet.store.database import Store
from fleet.store.tables import Rule

if TYPE_CHECKING:
    from fleet.control.mirror import RuleSpec


def change(store: Store, dataset: str, spec: "RuleSpec") -> str:
    """Have this hold for a dataset from now on, in place of what held before; return its id.

    Raises:
        NotFoundError: there is no such dataset.
    """
    with store.write() as session:
        found = holdings.find_dataset(session, dataset)
        if found is None:
            raise NotFoundError(f"there is no dataset {dataset!r}; `fleet status` names them")
        give(session, found.id, spec, store.now(session))
        return found.id


def give(session: Session, dataset: str, spec: "RuleSpec", now: datetime) -> None:
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
