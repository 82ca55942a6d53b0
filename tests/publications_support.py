"""A centre with a repository: the rehearsed Zenodo, and the parts of consumer and executor."""

import io
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from sqlmodel import select

from fleet.control import descriptions, publications, records, sites, why
from fleet.control.errors import RefusedError
from fleet.control.rules import RuleSpec
from fleet.control.sites import SiteSpec
from fleet.descriptions import Description
from fleet.invenio import Calls, DraftFiles, Wanted
from fleet.messages import Order
from fleet.places import RecordsPlace
from fleet.rehearsal.zenodo import TOKEN, Zenodo
from fleet.rehearsal.zenodo.state import Record
from fleet.store.tables import Dataset, Publication, Version
from tests.centre_support import Centre
from tests.publish_support import AGENT
from tests.zenodo_support import md5

FILL_TOKEN = "fills-drafts"
DESCRIBED = Description.model_validate(
    {
        "title": {"en": "Buildings", "fr": "Bâtiments"},
        "summary": {"en": "All of them.", "fr": "Tous."},
        "creators": [{"name": "Data for Canada"}],
        "publisher": "Data for Canada",
        "licence": {"id": "CC-BY-4.0"},
    }
)
EVERYWHERE = RuleSpec(copies=None, selector="")


@dataclass
class Office:
    """A centre, what a repository has, and who works for both."""

    centre: Centre
    zenodo: Zenodo

    def open(self) -> None:
        """Have two nodes that may work for others, the repository as a site, and its keys."""
        node = {"kind": "node", "driver": "posix", "trusted": True}
        specs = [
            {**node, "id": name, "read_url": f"http://{name}.example"}
            for name in ("toronto", "amsterdam", "netcup")
        ]
        specs.append(
            {
                "id": "zenodo",
                "kind": "repository",
                "driver": "zenodo",
                "store": {"endpoint": self.zenodo.url},
            }
        )
        sites.apply(self.centre.store, tuple(SiteSpec.model_validate(one) for one in specs))
        path = self.centre.folder / "keys.yaml"
        path.write_text(f"zenodo: {{token: {FILL_TOKEN}, publish_token: {TOKEN}}}\n")
        path.chmod(0o600)
        self.centre.settings = self.centre.settings.model_copy(update={"keys_file": path})

    def describe(self, said: Description = DESCRIBED) -> None:
        descriptions.keep(self.centre.store, "data", said)

    def publish(self, version: str, at: str = "") -> None:
        publications.ask(self.centre.store, version, at)

    def round(self) -> int:
        """Tick once, and do all that it wakes anybody for; return how much that was."""
        self.centre.tick()
        rows = self.centre.wakeups()
        for row in rows:
            if row.publication_id is not None:
                records.advance(self.centre.store, self.centre.settings, row.publication_id)
            elif row.attempt_id is not None:
                with suppress(RefusedError):  # as a worker: not its to do any more
                    self.carry_out(self.centre.claim(row.attempt_id, row.site_id))
        return len([row for row in rows if row.publication_id or row.attempt_id])

    def carry_out(self, order: Order) -> None:
        """Do an executor's part."""
        if order.task == "publish":
            fill(self.centre, order)
        self.centre.report(order)

    def work(self, seconds: float = 0.0) -> None:
        """Go on until nothing is to be done, or so many seconds of the store's clock went by."""
        pause = max(5.0, seconds / 40)
        while self.round() or seconds > 0:
            self.centre.advance(pause)
            seconds -= pause

    def rows(self) -> list[Publication]:
        with self.centre.store.read() as session:
            return list(session.exec(select(Publication).order_by(Publication.id)).all())

    def row(self) -> Publication:
        (row,) = self.rows()
        return row

    def row_or_none(self) -> Publication | None:
        return next(iter(self.rows()), None)

    def order(self) -> Order:
        """Go on until an executor is told to fill a draft."""
        for _ in range(30):
            self.centre.tick()
            for row in self.centre.wakeups():
                if row.publication_id is not None:
                    records.advance(self.centre.store, self.centre.settings, row.publication_id)
                elif row.attempt_id is not None:
                    order = self.centre.claim(row.attempt_id, row.site_id)
                    if order.task == "publish":
                        return order
                    self.carry_out(order)
        raise AssertionError("nobody was told to")

    def told(self, name: str) -> str:
        """What `fleet why` says."""
        with self.centre.store.read() as session:
            return str(why.explain(session, name, self.centre.store.now(session)))

    def version(self, name: str) -> Version:
        with self.centre.store.read() as session:
            return session.get_one(Version, name)

    def concept_doi(self, dataset: str = "data") -> str | None:
        with self.centre.store.read() as session:
            return session.get_one(Dataset, dataset).doi

    def records(self) -> list[Record]:
        return [one for one in self.zenodo.records.records.values() if one.published]


@contextmanager
def opened(centre: Centre) -> Iterator[Office]:
    """Give a centre a repository that is rehearsed below its folder."""
    home = centre.folder / "zenodo"
    home.mkdir()
    with Zenodo(home, tokens={TOKEN: "1", FILL_TOKEN: "1"}) as zenodo:
        made = Office(centre, zenodo)
        made.open()
        yield made


def fill(centre: Centre, order: Order) -> None:
    """Put an order's files into the draft that its grant names, with the token of the grant."""
    assert order.grant is not None
    place = order.grant.place
    assert isinstance(place, RecordsPlace)
    held = {one.path: centre.content(one) for one in order.items}
    wanted = [Wanted(name, len(data), md5(data)) for name, data in held.items()]
    with Calls(place.endpoint, AGENT, order.grant.token or "") as calls:
        DraftFiles(calls, place.record).fill(wanted, lambda one: io.BytesIO(held[one.key]))
