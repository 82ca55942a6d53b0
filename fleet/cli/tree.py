"""The programs of a whole fleet on one machine: broker, centre, Flower, and a few sites.

Everything listens on loopback.  Tokens are made anew at each start and lie in files that only
their owner can read; so do the keys that sign the catalogue, which are made once.
"""

import os
import secrets
import socket
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from urllib.parse import urlsplit

from fleet.catalogue.signing import rotation
from fleet.catalogue.signing.errors import SigningError
from fleet.cli.broker import choose
from fleet.cli.centre import program
from fleet.cli.rehearsal import Rehearsal, give_up
from fleet.cli.supervisor import Program
from fleet.control import sites
from fleet.control.errors import FleetError
from fleet.settings import CentreSettings
from fleet.store.database import Store

GRACE = 15.0  # seconds: `fleet worker` is a supervisor itself, and gives its lanes ten
LOCAL_SITES = Path(__file__).with_name("local_sites.yaml")
_KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "PYTHONPATH", "VIRTUAL_ENV")


@dataclass(frozen=True)
class Tree:
    """What `fleet up` runs, and where a person finds it."""

    programs: tuple[Program, ...]
    sites: tuple[str, ...]
    page_url: str
    flower_url: str
    admin_token_file: Path
    root_key_file: Path


def plant(
    store: Store,
    settings: CentreSettings,
    *,
    flower: bool = True,
    persistent: bool = True,
    extra: dict[str, str] | None = None,
    repositories: bool = False,
) -> Tree:
    """Make the sites, the tokens and the programs of a fleet below ``settings.home``.

    Args:
        store: the store, whose tables are there.
        settings: the centre's; ``home`` is where everything is kept.
        flower: whether to run Flower.
        persistent: whether the embedded broker keeps its messages on disk.
        extra: more ``FLEET_*`` variables for every program.
        repositories: whether to run stand-ins for the repositories of others.
    """
    home = settings.home.absolute()
    specs = sites.read(LOCAL_SITES)
    ports = _free_ports(5 + 2 * len(specs))
    web, flower_port = _preferred(8484, ports.pop()), ports.pop()
    rehearsal = Rehearsal.make(give_up(store), ports.pop(), ports.pop(), ports.pop())
    doors, peers = ports[: len(specs)], ports[len(specs) :]
    specs = tuple(
        spec.model_copy(
            update={"read_url": f"http://127.0.0.1:{door}", "peer": f"127.0.0.1:{peer}"}
        )
        for spec, door, peer in zip(specs, doors, peers, strict=True)
    )
    sites.apply(store, specs)
    broker = choose(settings.broker_url, home / "broker", persistent=persistent)
    root_key = home / "catalogue-root-key.pem"
    _make_keys(home, root_key)
    admin = home / "admin-token"
    _secret(admin, secrets.token_urlsafe(32))
    env = {name: os.environ[name] for name in _KEPT if name in os.environ} | {
        "PYTHONUNBUFFERED": "1",
        "FLEET_HOME": str(home),
        "FLEET_BROKER_URL": broker.url,
        "FLEET_CENTRE_URL": f"http://127.0.0.1:{web}",
        "FLEET_DATABASE_URL": settings.database,
        "FLEET_LISTEN": f"127.0.0.1:{web}",
        **(extra or {}),
    }
    after = (broker.program.name,) if broker.program else ()
    programs = [broker.program] if broker.program else []
    if repositories:
        keys = home / "repositories" / "keys.yaml"
        _secret(keys, rehearsal.keys)
        sites.apply(store, rehearsal.specs)
        env |= {**rehearsal.settings, "FLEET_KEYS_FILE": str(keys)}
        programs.append(rehearsal.program(env, home))
    programs += _centre(env, home, admin, after)
    if flower:
        programs.append(_flower(env, home, flower_port, admin, after))
    for spec in specs:
        programs += _site(store, env, home, spec, after)
    return Tree(
        tuple(programs),
        tuple(spec.id for spec in specs),
        f"http://127.0.0.1:{web}/",
        f"http://127.0.0.1:{flower_port}/",
        admin,
        root_key,
    )


def _make_keys(home: Path, root_key: Path) -> None:
    """Make the keys that sign the catalogue, where this fleet has none.

    Those that a start which was killed left behind were never told to anybody.

    Raises:
        FleetError: they cannot be made.
    """
    own = CentreSettings(home=home, catalogue_root=None, catalogue_keys_file=None)
    if any((own.catalogue / "metadata").glob("*.root.json")):
        return
    for path in (root_key, own.catalogue_keys):
        path.unlink(missing_ok=True)
    try:
        rotation.init(own.catalogue, own.catalogue_keys, [root_key], 1, datetime.now(UTC))
    except SigningError as error:
        raise FleetError(str(error)) from error


def _centre(env: dict[str, str], home: Path, admin: Path, after: tuple[str, ...]) -> list[Program]:
    env = env | {"FLEET_ADMIN_TOKEN": admin.read_text(encoding="ascii")}
    health = env["FLEET_CENTRE_URL"] + "/api/v1/health"
    return [
        Program(
            name=name,
            argv=program(name),
            env=env,
            log=home / "logs" / f"{name}.log",
            ready=(lambda: answers(health)) if name == "server" else None,
            after=() if name == "server" else after,
        )
        for name in ("server", "scheduler", "consumer")
    ]


def _flower(
    env: dict[str, str], home: Path, port: int, admin: Path, after: tuple[str, ...]
) -> Program:
    """Flower, on loopback, under the name `admin` and the admin token."""
    auth = f"admin:{admin.read_text(encoding='ascii')}"
    return Program(
        name="flower",
        argv=(
            *(sys.executable, "-m", "celery", "--app=fleet.control.consumer", "flower"),
            *("--address=127.0.0.1", f"--port={port}", "--logging=warning"),
        ),
        env=env | {"FLOWER_BASIC_AUTH": auth},
        log=home / "logs" / "flower.log",
        after=after,
    )


def _site(
    store: Store, env: dict[str, str], home: Path, spec: sites.SiteSpec, after: tuple[str, ...]
) -> list[Program]:
    token = home / "sites" / spec.id / "token"
    _secret(token, sites.make_token(store, spec.id))
    env = env | {
        "FLEET_SITE": spec.id,
        "FLEET_SITE_TOKEN_FILE": str(token),
        "FLEET_ROOT": str(home / "sites" / spec.id / "data"),
        "FLEET_ALLOW_NETWORKS": env.get("FLEET_ALLOW_NETWORKS", "127.0.0.0/8"),
        "FLEET_DOOR": spec.read_url.removeprefix("http://"),
        "FLEET_BITTORRENT": spec.peer,
    }
    door = spec.read_url + "/"
    return [
        Program(
            name=f"{name} {spec.id}",
            argv=program(name, "--site", spec.id),
            env=env,
            log=home / "sites" / spec.id / "state" / "logs" / f"{name}.log",
            ready=(lambda: answers(door)) if name == "seeder" else None,
            after=after if name == "worker" else (),
        )
        for name in ("worker", "seeder")
    ]


def answers(url: str) -> bool:
    """Whether something answers HTTP at ``url``, whatever it says."""
    parts = urlsplit(url)
    connection = HTTPConnection(parts.hostname or "", parts.port, timeout=0.5)
    try:
        connection.request("HEAD", parts.path)
        connection.getresponse()
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()
    return True


def _secret(path: Path, text: str) -> None:
    """Write a file that only its owner can read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(text)


def _free_ports(count: int) -> list[int]:
    """Find free ports of loopback, all different."""
    with ExitStack() as stack:
        held = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in held:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in held]


def _preferred(port: int, other: int) -> int:
    """Return ``port`` if nobody listens there, else ``other``."""
    with socket.socket() as probe:
        return other if probe.connect_ex(("127.0.0.1", port)) == 0 else port
