"""What the tests of the redirector share: a served centre that reads its store often."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx
import pytest
from sqlmodel import Session, col, select

from fleet.store.tables import Artifact, Shard, Version
from fleet.web import app
from tests.api_support import PATIENCE, Api, served
from tests.centre_support import Centre

PAGE = {"Accept": "text/html"}


@contextmanager
def redirecting(centre: Centre, monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    """Serve a centre; the redirector knows all that there is, and hears of changes at once."""
    monkeypatch.setattr(app, "REFRESH_SECONDS", 0.02)
    with served(centre) as api:
        until(lambda: api.get("/d/none/1/a.csv").status_code == 404)
        yield api


def until(condition: Callable[[], bool]) -> None:
    """Ask again and again until it holds."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it never came to be"


def label_of(centre: Centre) -> str:
    """The label of the one version that there is."""
    with centre.store.read() as session:
        return session.exec(select(Version.label)).one()


def shard_of(session: Session, path: str = "a.csv") -> Shard:
    """The shard of a file; a version's manifest has one of its own."""
    its = col(Artifact.shard_id) == col(Shard.id)
    return session.exec(select(Shard).join(Artifact, its).where(Artifact.path == path)).one()


def links(answer: httpx.Response, relation: str) -> list[str]:
    """The addresses that an answer's Link header gives a relation, in its order."""
    found = []
    for link in answer.headers["link"].split(", "):
        address, *said = link.split("; ")
        if f"rel={relation}" in said:
            found.append(address.strip("<>"))
    return found
