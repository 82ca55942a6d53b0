"""Real databases for tests: a SQLite file, or a PostgreSQL cluster started for this run."""

import os
import pwd
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import make_url, text
from sqlmodel import SQLModel

from fleet.store.clock import Clock
from fleet.store.database import Store
from fleet.store.migrate import upgrade

# For what is the same whatever the store: input that is refused, what programs do with each other.
on_sqlite = pytest.mark.parametrize("databases", ["sqlite"], indirect=True)
on_postgres = pytest.mark.parametrize("databases", ["postgresql"], indirect=True)


def _binary(name: str) -> Path:
    found = shutil.which(name)
    places = [Path(found).resolve()] if found else []
    places += sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), reverse=True)
    if not places:
        pytest.skip(f"no {name} here: install the Debian package postgresql")
    return places[0]


@contextmanager
def postgres_cluster(folder: Path) -> Iterator[str]:
    """Run a cluster below ``folder``; yield the URL of its maintenance database."""
    initdb, postgres = _binary("initdb"), _binary("postgres")
    user: str | None = None
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root
        names = {entry.pw_name for entry in pwd.getpwall()}
        user = "postgres" if "postgres" in names else "nobody"
        shutil.chown(folder, user)
    data = folder / "data"
    quiet = {"stdout": subprocess.DEVNULL, "user": user, "cwd": folder}
    subprocess.run(
        [initdb, "-D", data, "-U", "fleet", "-A", "trust", "--no-sync", "--locale=C.UTF-8"],
        check=True,
        **quiet,
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = [
        "-c",
        "fsync=off",
        "-c",
        f"unix_socket_directories={folder}",
        "-c",
        "log_min_messages=fatal",
    ]
    server = subprocess.Popen(
        [postgres, "-D", data, "-h", "127.0.0.1", "-p", str(port), *options],
        stderr=subprocess.DEVNULL,
        **quiet,
    )
    url = f"postgresql://fleet@127.0.0.1:{port}/postgres"
    try:
        _await(url, server)
        yield url
    finally:
        server.send_signal(2)  # SIGINT: fast shutdown
        server.wait(20)


def _await(url: str, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and server.poll() is None:
        try:
            psycopg.connect(url, connect_timeout=1).close()
        except psycopg.OperationalError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError("the PostgreSQL server of the tests did not come up")


class Databases:
    """Hands out empty databases with the tables made.

    Each is a copy of one template.  Most tests need none of their own: they share a store and have
    it emptied, one after the other, for what SQLAlchemy compiles anew for each engine, and
    PostgreSQL looks up anew for each connection, takes longer than most tests themselves.
    """

    def __init__(self, kind: str, url: str) -> None:
        self.kind, self.url, self.made = kind, url, 0
        if kind == "postgresql":
            self._admin("CREATE DATABASE template_fleet")
            upgrade(self._named("template_fleet"))
        else:
            upgrade(f"sqlite:///{url}/template.db")
        self._shared = Store(self.make())
        empty = [f'DELETE FROM "{one.name}"' for one in reversed(SQLModel.metadata.sorted_tables)]
        # PostgreSQL is asked once: each statement by itself is a journey.
        one_block = f"DO $$ BEGIN {'; '.join(empty)}; END $$"
        self._empty = [one_block] if kind == "postgresql" else empty

    def make(self) -> str:
        self.made += 1
        if self.kind == "postgresql":
            name = f"test_{self.made}"
            self._admin(f"CREATE DATABASE {name} TEMPLATE template_fleet")
            return self._named(name)
        path = Path(self.url) / f"test_{self.made}.db"
        shutil.copy(Path(self.url) / "template.db", path)
        return f"sqlite:///{path}"

    def emptied(self, clock: Clock) -> Store:
        """Empty the shared store and put it on ``clock``; who had it before has it no more."""
        self._shared.clock = clock
        with self._shared.write() as session:
            for statement in self._empty:
                session.connection().exec_driver_sql(statement)
        return self._shared

    def close(self) -> None:
        self._shared.close()

    def _named(self, name: str) -> str:
        return make_url(self.url).set(database=name).render_as_string(hide_password=False)

    def _admin(self, statement: str) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(statement)


@contextmanager
def lacking(store: Store, table: str) -> Iterator[None]:
    """Take a table away meanwhile; what has other tests after it gets it back in any case."""
    _rename(store, table, f"{table}_elsewhere")
    try:
        yield
    finally:
        _rename(store, f"{table}_elsewhere", table)


def _rename(store: Store, table: str, name: str) -> None:
    with store.write() as session:
        session.connection().exec_driver_sql(f"ALTER TABLE {table} RENAME TO {name}")


@contextmanager
def refusing(store: Store, site: str) -> Iterator[None]:
    """Let SQLite refuse that a site is retired, each time."""
    when = f"BEFORE UPDATE OF retired ON site WHEN NEW.id = '{site}'"
    fault = "BEGIN SELECT RAISE(ABORT, 'this site is refused'); END"
    with store.write() as session:
        session.execute(text(f"CREATE TRIGGER refusing {when} {fault}"))
    try:
        yield
    finally:
        with store.write() as session:
            session.execute(text("DROP TRIGGER refusing"))


def until_blocked(store: Store) -> None:
    """Wait until a unit of work in PostgreSQL waits for what another one holds."""
    waiting = text(
        "SELECT 1 FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    end = time.monotonic() + 60
    while time.monotonic() < end:
        with store.read() as session:
            if session.execute(waiting).first():
                return
    raise AssertionError("nothing waits")
