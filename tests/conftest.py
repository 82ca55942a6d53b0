"""Fixtures that many tests share: a store on each kind of database, a site, a web server."""

import os
import signal
import subprocess
import tempfile
from collections.abc import Generator, Iterator
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from pathlib import Path

import certifi
import pytest

from fleet.store.clock import DatabaseClock, VirtualClock
from fleet.store.database import Store
from tests.centre_support import Centre
from tests.databases import Databases, postgres_cluster
from tests.fault_exchange import Exchange
from tests.fault_kinds import FAULTS
from tests.fault_server import FaultServer
from tests.pull_support import Site
from workers.pull import mirror

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def pytest_sessionstart() -> None:
    """Let Ctrl-C end what tests start: a shell's background job, and its children, ignore it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_xdist_auto_num_workers() -> int:
    """Run two tests on each core: real processes and clients keep one waiting a third of it."""
    return 2 * len(os.sched_getaffinity(0))


@pytest.fixture(autouse=True, scope="session")
def _home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep what a centre keeps out of this user's own folders, where a test names no other."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FLEET_HOME", str(tmp_path_factory.mktemp("home")))
        yield


@pytest.fixture(autouse=True, scope="session")
def _few_authorities(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let each client of httpx trust one authority: to read them all takes longer than most tests.

    Servers that speak TLS here have a certificate of their own, which is said where they are asked.
    """
    first, end, _ = certifi.contents().partition("-----END CERTIFICATE-----\n")
    file = tmp_path_factory.mktemp("authorities") / "one.pem"
    file.write_text(first + end)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(certifi, "where", lambda: str(file))
        yield


@pytest.fixture(scope="session")
def sqlite_databases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Databases]:
    with closing(Databases("sqlite", str(tmp_path_factory.mktemp("sqlite")))) as databases:
        yield databases


@pytest.fixture(scope="session")
def postgres_databases() -> Iterator[Databases]:
    # Not below pytest's own folder: that is closed to the user whom PostgreSQL must run as.
    with (
        tempfile.TemporaryDirectory(prefix="fleet-postgres-") as folder,
        postgres_cluster(Path(folder)) as url,
        closing(Databases("postgresql", url)) as databases,
    ):
        yield databases


@pytest.fixture(params=["sqlite", "postgresql"])
def databases(request: pytest.FixtureRequest) -> Databases:
    """Each kind of database."""
    name = "sqlite_databases" if request.param == "sqlite" else "postgres_databases"
    found: Databases = request.getfixturevalue(name)
    return found


@pytest.fixture
def database_url(databases: Databases) -> str:
    """An empty database of each kind, its tables made, for one test alone."""
    return databases.make()


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(NOON)


@pytest.fixture
def store(databases: Databases, clock: VirtualClock) -> Store:
    """An empty store of each kind, on a clock that stands still until told to move."""
    return databases.emptied(clock)


@pytest.fixture
def sqlite_store(sqlite_databases: Databases, clock: VirtualClock) -> Store:
    """A store on SQLite alone, for properties that need hundreds of runs."""
    return sqlite_databases.emptied(clock)


@pytest.fixture
def postgres_store(postgres_databases: Databases, clock: VirtualClock) -> Store:
    """A store on PostgreSQL alone, for what several units of work do at the same time."""
    return postgres_databases.emptied(clock)


@pytest.fixture
def live_store(databases: Databases) -> Store:
    """A store of each kind, on its database's own clock."""
    return databases.emptied(DatabaseClock())


@pytest.fixture
def centre(store: Store, tmp_path: Path) -> Centre:
    """A centre with three sites and nothing to do, on each kind of store."""
    return _idle(store, tmp_path)


@pytest.fixture
def sqlite_centre(sqlite_store: Store, tmp_path: Path) -> Centre:
    """The same on SQLite alone, for what takes months of ticks."""
    return _idle(sqlite_store, tmp_path)


def _idle(store: Store, folder: Path) -> Centre:
    made = Centre(store, folder)
    made.apply_sites("toronto", "amsterdam", "netcup")
    made.open_doors()
    return made


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """One site's worker, with nothing in its tree."""
    return Site(tmp_path)


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer() as running:
        yield running


@pytest.fixture
def servers() -> Iterator[list[FaultServer]]:
    with ExitStack() as stack:
        yield [stack.enter_context(FaultServer()) for _ in range(4)]


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a test say how a server answers: by the fault ``scripted`` and the option ``answer``."""

    def answer(exchange: Exchange) -> None:
        exchange.file.options["answer"](exchange)

    monkeypatch.setitem(FAULTS, "scripted", answer)


@pytest.fixture
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sources are asked again at once, or nearly."""
    monkeypatch.setattr(mirror, "FIRST_WAIT", 0.01)


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for mirror.example, and its key, in one file."""
    folder = tmp_path_factory.mktemp("tls")
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-nodes", "-days", "2", "-subj", "/CN=mirror.example"]
    command += ["-addext", "subjectAltName=DNS:mirror.example"]
    command += ["-keyout", str(folder / "key"), "-out", str(folder / "certificate")]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("openssl is not installed")
    both = folder / "both.pem"
    both.write_bytes((folder / "key").read_bytes() + (folder / "certificate").read_bytes())
    return both


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Where nothing may be skipped (CI), count a test that was as failed."""
    report = yield
    if report.skipped and os.environ.get("FLEET_NO_SKIPS"):
        report.outcome = "failed"
    return report
