"""Stand-ins for the repositories of others, so that a newcomer can try them without an account.

`fleet up --with-test-repositories` runs them as one program: a bucket of an S3 service, which
becomes a site, a Zenodo and an Internet Archive, which datasets can be imported from.  What they
are given is forgotten when that program ends: so the next `fleet up` gives the bucket up as lost,
and makes another.

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

from sqlmodel import select

from fleet.cli.supervisor import Program
from fleet.control import sites
from fleet.control.sites import SiteSpec
from fleet.places import BucketPlace
from fleet.store.database import Store
from fleet.store.tables import Site

BUCKET = "open-data"
_PROVIDER = "rehearsal"
_LOOPBACK = "http://127.0.0.1:"
_VARIABLE = "FLEET_REHEARSAL"


@dataclass(frozen=True)
class Rehearsal:
    """Where the stand-ins listen, and what opens them."""

    s3: int
    zenodo: int
    archive: int
    site: str
    key_id: str
    secret: str
    token: str

    @classmethod
    def make(cls, site: str, s3: int, zenodo: int, archive: int) -> "Rehearsal":
        """Make one with new keys on these ports, whose bucket is a site of this name."""
        key_id = f"REHEARSAL{secrets.token_hex(6).upper()}"
        secret, token = secrets.token_urlsafe(30), secrets.token_urlsafe(30)
        return cls(s3, zenodo, archive, site, key_id, secret, token)

    @property
    def spec(self) -> SiteSpec:
        """The bucket, as a line of the sites file."""
        return SiteSpec.model_validate(
            {
                "id": self.site,
                "kind": "object_store",
                "driver": "s3",
                "operator": _PROVIDER,
                "provider": _PROVIDER,
                "read_url": f"http://127.0.0.1:{self.s3}/{BUCKET}",
                "store": {"endpoint": f"http://127.0.0.1:{self.s3}", "bucket": BUCKET},
            }
        )

    @property
    def keys(self) -> str:
        """What stands in the file of keys."""
        return json.dumps({self.site: {"key_id": self.key_id, "secret": self.secret}}) + "\n"

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


def give_up(store: Store) -> str:
    """Give up the buckets of former rehearsals, which are lost; name the next one."""
    with store.read() as session:
        rows = session.exec(select(Site).where(Site.provider == _PROVIDER)).all()
    lost = tuple(
        SiteSpec(
            id=row.id,
            kind="object_store",
            driver="s3",
            operator=_PROVIDER,
            provider=_PROVIDER,
            store=BucketPlace(**row.store),
            retired="lost",
        )
        for row in rows
        if not row.retired and row.store["endpoint"].startswith(_LOOPBACK)
    )
    sites.apply(store, lost)
    return f"bucket-{len(rows) + 1}"


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
