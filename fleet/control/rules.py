"""Rules that are given to datasets which are there already."""

from fleet.control.errors import NotFoundError
from fleet.control.mirror import RuleSpec, give_rule
from fleet.store import holdings
from fleet.store.database import Store


def change(store: Store, dataset: str, spec: RuleSpec) -> str:
    """Have this hold for a dataset from now on, in place of what held before; return its id.

    Raises:
        NotFoundError: there is no such dataset.
    """
    with store.write() as session:
        found = holdings.find_dataset(session, dataset)
        if found is None:
            raise NotFoundError(f"there is no dataset {dataset!r}; `fleet status` names them")
        give_rule(session, found.id, spec, store.now(session))
        return found.id
