"""One request to the rehearsed Zenodo, and the answers in common."""

import json
from dataclasses import dataclass
from typing import Any

from fleet.rehearsal.exchange import Answer, Asked
from fleet.rehearsal.zenodo import legacy, shapes
from fleet.rehearsal.zenodo.files import Files
from fleet.rehearsal.zenodo.records import DENIED, Records
from fleet.rehearsal.zenodo.reviews import Reviews
from fleet.rehearsal.zenodo.state import Complaint, Json, Record, Refused

MOST = 1 << 20  # bytes of a body of JSON


@dataclass(frozen=True)
class Call:
    """A request that was routed: whose it is, the names in its path, and the state it is about.

    ``url`` is the server's.
    """

    url: str
    records: Records
    files: Files
    reviews: Reviews
    asked: Asked
    caller: str | None
    names: dict[str, str]

    @property
    def user(self) -> str:
        """Who asks; without a token it is refused (observed: zenodo/zenodo#2543)."""
        if self.caller is None:
            raise Refused(403, DENIED)
        return self.caller

    @property
    def id(self) -> str:
        """The record in the path."""
        return self.names["id"]

    @property
    def key(self) -> str:
        """The file in the path."""
        return self.names["key"]

    def json(self) -> Any:
        """Read the body, an empty one as an empty object."""
        if self.asked.body.length > MOST:
            raise Refused(413, "The data value transmitted exceeds the capacity limit.")
        try:
            return json.loads(self.asked.body.read() or b"{}")
        except ValueError:
            raise Refused(400, "Unable to decode JSON data in request body.") from None

    def shaped(self, record: Record) -> Json:
        """Write a record in the shape that is asked for."""
        concept = self.records.concepts[record.concept]
        if shapes.RDM in self.asked.headers.get("accept", ""):
            return shapes.record(self.url, record, concept)
        if self.records.switches.old_shape and record.published:
            return legacy.old_record(self.url, record, concept)
        return legacy.record(self.url, record, concept)

    def saved(self, record: Record, complaints: list[Complaint]) -> Json:
        """Write a draft with what is wrong with it, which Zenodo's own shape does not tell."""
        body = self.shaped(record)
        told = complaints and shapes.RDM in self.asked.headers.get("accept", "")
        return {**body, "errors": complaints} if told else body


def said(status: int, body: Json | list[Json], **headers: str) -> Answer:
    """Answer JSON."""
    extra = {name.replace("_", "-"): value for name, value in headers.items()}
    text = json.dumps(body).encode()
    return Answer(status, {"Content-Type": "application/json", **extra}, text)


def nothing() -> Answer:
    """Answer that it is gone."""
    return Answer(204)


def redirect(status: int, location: str) -> Answer:
    """Send the client elsewhere (invenio-drafts-resources: RedirectException)."""
    body = {"status": status, "message": "Redirecting...", "location": location}
    return said(status, body, Location=location)
