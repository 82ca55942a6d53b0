"""Sites that are to go, in the words of the tests."""

from fleet.control import retirement, why
from fleet.control.causes import Cause
from fleet.store.tables import Site
from tests.centre_support import Centre


def retire(centre: Centre, site: str) -> str:
    with centre.store.write() as session:
        session.get_one(Site, site).retiring = centre.store.now(session)
    if retirement.look_at(centre.store, site):
        return "retired"
    with centre.store.read() as session:
        return retirement.waits(session, session.get_one(Site, site))


def apply(centre: Centre, *names: str, **said: object) -> list[str]:
    """Apply a sites file of some sites; return what it says that it changed there."""
    lines = centre.apply_sites(*names, **said)
    return [line for line in lines if line.partition(":")[0] in names]


def is_retired(centre: Centre, site: str) -> bool:
    with centre.store.read() as session:
        return session.get_one(Site, site).retired


def to_be_retired(centre: Centre, site: str) -> None:
    with centre.store.write() as session:
        session.get_one(Site, site).retiring = centre.store.now(session)


def waits(centre: Centre, site: str) -> tuple[Cause, list[str]]:
    """What `fleet why` says of a site, and why it is needed for each shard."""
    with centre.store.read() as session:
        found = why.explain(session, site, centre.store.now(session)).causes
    return found[0], [one.reason for one in found if one.state == "needed"]


def silence(centre: Centre, *names: str, silent: bool = True) -> None:
    with centre.store.write() as session:
        for name in names:
            session.get_one(Site, name).silent = silent
