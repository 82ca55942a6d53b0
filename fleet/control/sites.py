"""Sites, as a declarative file names them, and the tokens they prove themselves with.

The file holds no secret.  A token is shown once, when it is made; the store keeps its digest.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from sqlalchemy import update
from sqlmodel import Session, col, delete, select

from fleet.control import gateways, probes, providers, retirement, served
from fleet.control.errors import NotFoundError, RefusedError, UndoneError
from fleet.messages import LocalTime, Zone
from fleet.places import Place, RecordsPlace
from fleet.planning import spread
from fleet.planning.executors import UNMANNED_DRIVERS
from fleet.store import holdings
from fleet.store.database import Store
from fleet.store.tables import Budget, Rule, Site, Window

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_HOSTS = r"^(\*\.)?[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[0-9]{1,5})?$"
# All are told of it: neither a user nor a password, and no query
_READ_URL = r"^(https?://(\[[0-9a-fA-F:.]+\](:[0-9]+)?|[^/?#@\s\[\]]+)(/[^?#\s]*)?)?$"
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?) *([kmgt]?)(i?)b?", re.IGNORECASE)


def _bytes(value: object) -> object:
    """Read ``950 GB`` or ``1 TiB`` as bytes."""
    if not isinstance(value, str):
        return value
    match = _SIZE.fullmatch(value.strip())
    if match is None:
        raise ValueError(f"{value!r} is not a size such as '950 GB' or '1 TiB'")
    number, unit, binary = match.groups()
    steps = "kmgt".index(unit.lower()) + 1 if unit else 0
    return int(float(number) * (1024**steps if binary else _UNITS[unit.lower()]))


Size = Annotated[int, BeforeValidator(_bytes), Field(ge=0)]


class _Spec(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class WindowSpec(_Spec):
    """Daily quiet hours in a zone's local time; they may cross midnight."""

    timezone: Zone
    opens: LocalTime
    closes: LocalTime


class BudgetSpec(_Spec):
    """How fast a site may be used; ``source`` says where the figures come from."""

    streams: int = Field(4, ge=1)
    bytes_per_second: Size | None = None
    source: str = ""


class UploadHoursSpec(WindowSpec):
    """Daily hours with an upload rate of their own; 0 means no uploads then."""

    bytes_per_second: Size


class UploadSpec(_Spec):
    """What a site may upload, by BitTorrent and HTTP together; None is no limit."""

    bytes_per_second: Size | None = None
    bytes_per_month: Annotated[Size, Field(ge=10**6)] | None = None
    hours: tuple[UploadHoursSpec, ...] = Field((), max_length=24)


class ProviderSpec(_Spec):
    """What all sites together may ask of a provider, in place of what Fleet knows of it.

    Of a known one, what is left out stays as it is; ``null`` is no limit.
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]{0,62}$")
    hosts: tuple[Annotated[str, Field(pattern=_HOSTS)], ...] = Field((), max_length=50)
    requests_per_minute: int | None = Field(None, ge=1, lt=2**31)
    bytes_per_5_minutes: Annotated[Size, Field(ge=10**6, lt=2**63)] | None = None
    streams: int = Field(8, ge=1, le=1000)
    weight: float = Field(1.0, gt=0, le=1)
    source: str = ""


class SiteSpec(_Spec):
    """One site of the file."""

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")
    kind: Literal["node", "object_store", "repository", "archive", "volunteer", "http"]
    driver: str
    region: str = ""
    country: str = ""
    jurisdiction: str = ""
    operator: str = ""
    provider: str = ""
    arch: str = ""
    capacity: Size | None = None
    speed_mbps: int | None = Field(None, gt=0)
    trusted: bool = False
    read_url: str = Field("", pattern=_READ_URL)
    peer: str = Field("", pattern=r"^([^/\s]+:[0-9]+)?$")
    fronts: tuple[str, ...] = ()
    slots: int = Field(4, ge=1)
    retired: Literal[True, False, "lost"] = False
    timezone: Zone | Literal[""] = ""
    windows: tuple[WindowSpec, ...] = ()
    budget: BudgetSpec | None = None
    upload: UploadSpec = UploadSpec()
    egress_usd_per_gb: float = Field(0.0, ge=0, le=1000)
    store: Place | None = None

    @model_validator(mode="before")
    @classmethod
    def _names_driver(cls, data: Any) -> Any:
        """Read what is under ``store`` as the site's driver wants it."""
        if not isinstance(data, dict) or not isinstance(data.get("store"), dict):
            return data
        return data | {"store": {"driver": data.get("driver")} | data["store"]}

    @model_validator(mode="after")
    def _says_where(self) -> Self:
        if self.driver in UNMANNED_DRIVERS and self.store is None:
            raise ValueError(f"driver {self.driver} needs a `store:` that says where it writes")
        if self.store is not None and self.store.driver != self.driver:
            raise ValueError(f"driver {self.driver} has no such `store:`")
        if self.driver in UNMANNED_DRIVERS and self.kind in ("node", "volunteer"):
            raise ValueError(
                f"a {self.kind} has a worker, and driver {self.driver} none: give another kind"
            )
        if isinstance(self.store, RecordsPlace) and self.store.record:
            raise ValueError("a repository's record is of one version, and not in a sites file")
        if self.store is not None and self.store.reads and self.read_url:
            raise ValueError(
                f"driver {self.driver} is read where its `store` says: leave `read_url` out"
            )
        if self.driver == "s3" and not (self.read_url or self.retired):
            raise ValueError(
                "a bucket needs a `read_url`: what nobody can read is no copy that others come from"
            )
        return self


class _File(_Spec):
    sites: tuple[SiteSpec, ...]
    providers: tuple[ProviderSpec, ...] = ()


def read(path: Path) -> tuple[SiteSpec, ...]:
    """Read a sites file.

    Raises:
        RefusedError: it cannot be read; the message names the site and the field.
    """
    specs = _load(path).sites
    names = [spec.id for spec in specs]
    for name in names:
        if names.count(name) > 1:
            raise RefusedError(f"{path}: site {name} is there twice")
    for spec in specs:
        for front in spec.fronts:
            if front not in names:
                raise RefusedError(f"{path}: site {spec.id} fronts {front}, which is not there")
    for one, behind in spread.behind({spec.id: spec.fronts for spec in specs}).items():
        if one in behind:
            raise RefusedError(
                f"{path}: site {one} fronts itself, at once or through others: name under fronts "
                "only what lies behind it"
            )
    return specs


def read_providers(path: Path) -> tuple[ProviderSpec, ...]:
    """Read what a sites file says of providers.

    Raises:
        RefusedError: it cannot be read; the message names the provider and the field.
    """
    specs = _load(path).providers
    names = [spec.name for spec in specs]
    for spec in specs:
        if names.count(spec.name) > 1:
            raise RefusedError(f"{path}: provider {spec.name} is there twice")
        if not spec.hosts and ("hosts" in spec.model_fields_set or not providers.known(spec.name)):
            raise RefusedError(
                f"{path}: provider {spec.name} has no hosts: give the patterns of its hosts' "
                "names, such as data.example.org or '*.example.org'"
            )
    return specs


def _load(path: Path) -> _File:
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise RefusedError(f"{path}: {error}") from error
    try:
        return _File.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        where, what = _where(data, first["loc"]), first["msg"].removeprefix("Value error, ")
        raise RefusedError(f"{path}: {where}: {what}") from error


def _where(data: Any, parts: Iterable[str | int]) -> str:
    """Say where in a file a fault is, as people call it: `toronto.capacity`, not `sites.1`."""
    said: list[str] = []
    for part in parts:
        if isinstance(part, int):
            data = data[part]
            named = data.get("id") or data.get("name") if isinstance(data, dict) else None
            said = [str(named)] if named else [*said, str(part + 1)]
        elif "[" not in part and part not in UNMANNED_DRIVERS:  # nobody's business: how it is read
            said.append(part)
            data = data.get(part) if isinstance(data, dict) else None
    return ".".join(said) or "it"


def apply(
    store: Store, specs: tuple[SiteSpec, ...], others: tuple[ProviderSpec, ...] = ()
) -> list[str]:
    """Make the store's sites and providers what the file says; return the changes, in words.

    Raises:
        UndoneError: a site that is lost could not be retired; the file is to be applied again.
    """
    changes, undone = list[str](), list[str]()
    with store.write() as session:
        now = store.now(session)
        before = {site.id: site for site in session.exec(select(Site)).all()}
        active = {site.id for site in before.values() if not site.retired}
        gone = gateways.gone(session)
        for spec in specs:
            changes += _apply_one(session, spec, before.pop(spec.id, None), now)
        changes += [
            f"{site.id}: not in the file, left as it is; say `retired: true` to retire it"
            for site in before.values()
            if not site.retired
        ]
        changes += _gateways(session, gone)
        limits = {spec.name: spec.model_dump(exclude_unset=True) for spec in others}
        changes += providers.apply(session, limits, now)
        session.exec(update(Rule).values(look_at=now))  # shards are taken in units of their own
    for spec in specs:
        if spec.retired and spec.id in active:
            try:
                said = retirement.ask(store, spec.id, lost=spec.retired == retirement.LOST)
            except RefusedError as error:  # it stops none of the others
                undone.append(f"{spec.id} {error}")
            else:
                changes.append(f"{spec.id}: {said}")
    if undone:
        raise UndoneError("; ".join(undone), changes)
    return changes


def _gateways(session: Session, before: Mapping[str, str]) -> Iterator[str]:
    """Tell of the gateways that stay and from now on go with what they front."""
    for gateway, behind in gateways.gone(session).items():
        row = session.get_one(Site, gateway)
        if gateway not in before and not row.retired and row.retiring is None:
            yield (
                f"{gateway}: fronts {behind}, which was retired or is to be: it gets nothing new, "
                "and what it holds counts for nothing, as long as the file says that it does"
            )


def _apply_one(session: Session, spec: SiteSpec, site: Site | None, now: datetime) -> list[str]:
    values = spec.model_dump(exclude={"windows", "budget"}) | {
        "store": spec.store.model_dump(exclude={"driver"}) if spec.store else {},
        "read_url": spec.read_url or (spec.store.reads if spec.store else ""),
        "fronts": list(spec.fronts),
        "retired": bool(spec.retired),
        "upload": spec.upload.model_dump(mode="json", exclude_defaults=True),
    }
    if site is None:
        session.add(Site(**values))
        session.flush()
        changes = [f"{spec.id}: added"]
    else:
        changed = [name for name, value in values.items() if getattr(site, name) != value]
        if _moves(site.store, values["store"]) and holdings.at_site(session, spec.id):
            raise RefusedError(
                f"{spec.id}: its copies lie where its `store` said until now; retire it, and give "
                "the new place an id of its own"
            )
        retires = spec.retired and not site.retired
        for name in changed:
            if name != "retired" or not retires:
                setattr(site, name, values[name])
        if retires:
            site.retiring = now  # by itself, once what the file says is committed
        changes = [f"{spec.id}: {', '.join(changed)} changed"] if changed else []
        if "read_url" in changed and not spec.retired:
            probes.begin_anew(session, spec.id, now)
        if site.retiring is not None and not spec.retired:
            site.retiring = None
            changes.append(f"{spec.id}: is not retired after all")
    served.begin(session, session.get_one(Site, spec.id), now)
    session.exec(delete(Window).where(col(Window.site_id) == spec.id))
    session.exec(delete(Budget).where(col(Budget.site_id) == spec.id))
    session.add_all(Window(site_id=spec.id, **window.model_dump()) for window in spec.windows)
    if spec.budget is not None:
        session.add(Budget(site_id=spec.id, **spec.budget.model_dump()))
    return changes


def _moves(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Whether a site's objects would lie elsewhere; what it serves besides may change."""
    return {**before, "processed": False} != {**after, "processed": False}


def make_token(store: Store, site_id: str) -> str:
    """Make a new token for a site, in place of the old one.

    Raises:
        NotFoundError: there is no such site.
    """
    token = secrets.token_urlsafe(32)
    with store.write() as session:
        site = session.get(Site, site_id)
        if site is None:
            raise NotFoundError(f"there is no site {site_id!r}; `fleet site list` names them")
        site.token_hash = _digest(token)
    return token


def by_token(session: Session, token: str) -> Site | None:
    """Return the site that a token belongs to, comparing in constant time."""
    digest = _digest(token)
    found = None
    for site in session.exec(select(Site).where(col(Site.token_hash).is_not(None))).all():
        if hmac.compare_digest(site.token_hash or "", digest):
            found = site
    return found


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
