"""Stand-ins for the repositories of others, so that a newcomer can try them without an account.

`fleet up --with-test-repositories` runs them as one program: a bucket of an S3 service and a
Zenodo, which become sites, and an Internet Archive; datasets can be imported from both.  What they
are given is forgotten when that program ends: so the next `fleet up` gives these sites up as lost,
and makes others.  Their DOIs are no DOIs: nobody resolves them.

The program is ``python -m fleet.cli.rehearsal``; all that it needs is in its environment.
"""

import json
import os
import secrets
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlmodel import select

from fleet.cli.supervisor import Program
from fleet.control import sites
from fleet.control.sites import SiteSpec
from fleet.store.database import Store
from fleet.store.tables import Site

BUCKET = "open-data"
_PROVIDER = "rehearsal"
_KINDS = {"bucket": ("object_store", "s3"), "zenodo": ("repository", "zenodo")}
_LOOPBACK = "http://127.0.0.1:"
_VARIABLE = "FLEET_REHEARSAL"


@dataclass(frozen=True)
class Rehearsal:
    """Where the stand-ins listen, and what opens them."""

    s3: int
    zenodo: int
    archive: int
    number: int
    key_id: str
    secret: str
    token: str

    @classmethod
    def make(cls, number: int, s3: int, zenodo: int, archive: int) -> "Rehearsal":
        """Make one with new keys on these ports, whose sites have this number."""
        key_id = f"REHEARSAL{secrets.token_hex(6).upper()}"
        secret, token = secrets.token_urlsafe(30), secrets.token_urlsafe(30)
        return cls(s3, zenodo, archive, number, key_id, secret, token)

    @property
    def specs(self) -> tuple[SiteSpec, ...]:
        """The bucket and the Zenodo, as lines of the sites file."""
        s3, zenodo = f"{_LOOPBACK}{self.s3}", f"{_LOOPBACK}{self.zenodo}"
        bucket = {"endpoint": s3, "bucket": BUCKET}
        return (
            _spec("bucket", self.number, store=bucket, read_url=f"{s3}/{BUCKET}"),
            _spec("zenodo", self.number, store={"endpoint": zenodo}),
        )

    @property
    def keys(self) -> str:
        """What stands in the file of keys."""
        bucket, zenodo = (spec.id for spec in self.specs)
        opened = {"key_id": self.key_id, "secret": self.secret}
        return json.dumps({bucket: opened, zenodo: {"token": self.token}}) + "\n"

    @property
    def settings(self) -> dict[str, str]:
        """What the centre is told so that it imports from them."""
        return {
            "FLEET_ALLOW_NETWORKS": "127.0.0.0/8",
            "FLEET_S3_ENDPOINT": f"http://127.0.0.1:{self.s3}",
            "FLEET_ZENODO_HOSTS": f"zenodo.org,127.0.0.1:{self.zenodo}",
            "FLEET_ARCHIVE_HOSTS": f"archive.org,127.0.0.1:{self.archive}",
        }

    def program(self, env: Mapping[str, str], home: Path) -> Program:
        """Make the program that runs them."""
        told = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return Program(
            name="repositories",
            argv=(sys.executable, "-m", "fleet.cli.rehearsal"),
            env={**env, _VARIABLE: json.dumps(told), "FLEET_HOME": str(home)},
            log=home / "logs" / "repositories.log",
        )


def give_up(store: Store) -> int:
    """Give up the sites of former rehearsals, which are lost; number the next ones."""
    with store.read() as session:
        rows = session.exec(select(Site).where(Site.provider == _PROVIDER)).all()
    mine = [(row, *row.id.rpartition("-")[::2]) for row in rows]
    lost = tuple(
        _spec(name, int(number), store=row.store, retired="lost")
        for row, name, number in mine
        if name in _KINDS and not row.retired and row.store["endpoint"].startswith(_LOOPBACK)
    )
    sites.apply(store, lost)
    return 1 + max((int(number) for _, name, number in mine if name in _KINDS), default=0)


def _spec(name: str, number: int, **more: Any) -> SiteSpec:
    kind, driver = _KINDS[name]
    usual = {"kind": kind, "driver": driver, "operator": _PROVIDER, "provider": _PROVIDER}
    return SiteSpec.model_validate({"id": f"{name}-{number}", **usual, **more})


def main() -> None:
    """Serve until SIGTERM."""
    from fleet.rehearsal.archive.server import Archive
    from fleet.rehearsal.s3.server import S3Server
    from fleet.rehearsal.s3.sigv4 import Key
    from fleet.rehearsal.s3.strictness import Strictness
    from fleet.rehearsal.zenodo.server import Zenodo

    told = Rehearsal(**json.loads(os.environ.pop(_VARIABLE)))
    home = Path(os.environ["FLEET_HOME"]) / "repositories"
    folders = {name: home / name for name in ("s3", "zenodo", "archive")}
    for folder in folders.values():
        folder.mkdir(parents=True, exist_ok=True)
    public = Strictness(public=frozenset({BUCKET}))
    keys = {told.key_id: Key(told.secret)}
    bucket = S3Server(folders["s3"], [BUCKET], keys, public, port=told.s3)
    with ExitStack() as stack:
        stack.enter_context(Zenodo(folders["zenodo"], port=told.zenodo, tokens={told.token: "1"}))
        stack.enter_context(
            Archive(folders["archive"], {told.key_id: told.secret}, port=told.archive)
        )
        bucket.run()


if __name__ == "__main__":
    main()
