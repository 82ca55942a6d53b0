"""The store as commands on the centre's own machine see it.

What a store takes is imported when one is opened: every command imports this module, and most
processes of a fleet have no store.
"""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from fleet.control.errors import FleetError

if TYPE_CHECKING:
    from fleet.store.database import Store


def store() -> "Store":
    """Open the store that the settings name.

    Raises:
        FleetError: it is not there, or its tables are not those of this release.
    """
    from sqlalchemy.exc import OperationalError, ProgrammingError

    from fleet.settings import CentreSettings
    from fleet.store.database import Store
    from fleet.store.migrate import is_current

    settings = CentreSettings()
    opened = Store(settings.database)
    try:
        if not is_current(opened):
            raise FleetError(
                f"the database {opened.engine.url.render_as_string()} is not ready: run "
                "`fleet upgrade` (or start `fleet up`), or set FLEET_HOME or FLEET_DATABASE_URL"
            )
    except (OperationalError, ProgrammingError) as error:
        raise FleetError(
            f"the database {opened.engine.url.render_as_string()} does not open: {error.orig}; "
            "start `fleet up`, or set FLEET_HOME or FLEET_DATABASE_URL"
        ) from error
    return opened


def upgrade() -> None:
    """Bring the tables to what this release needs."""
    from fleet.settings import CentreSettings
    from fleet.store import migrate

    migrate.upgrade(CentreSettings().database)


def why(name: str) -> dict[str, Any]:
    """Explain a thing."""
    from fleet.control import why as reasons

    opened = store()
    with opened.read() as session:
        return asdict(reasons.explain(session, name, opened.now(session)))


def traffic() -> dict[str, Any]:
    """Return every site's and provider's usual week, and the windows to come."""
    from fleet.control import timetables

    opened = store()
    with opened.read() as session:
        return asdict(timetables.all_of(session, opened.now(session)))


def status() -> dict[str, Any]:
    """Return every dataset and site."""
    from fleet.control import views

    opened = store()
    with opened.read() as session:
        return {
            "datasets": [asdict(one) for one in views.datasets(session)],
            "sites": [asdict(one) for one in views.sites(session)],
        }
