"""What opens the sites that have no worker: read from a file, given for one attempt.

Rules this module keeps:

- Keys are in the file that ``FLEET_KEYS_FILE`` names, by site, and nowhere else: not in the store,
  not in a log.  It is read for each grant, so that whoever renews keys that expire only writes it.
- Others may not read it.
- Of a repository's two tokens whoever works for it is given the one that fills drafts; the one that
  publishes stays at the centre.
"""

import stat
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    SecretStr,
    TypeAdapter,
    ValidationError,
)
from sqlmodel import Session, select

from fleet.control import facts
from fleet.control.errors import NotFoundError, RefusedError
from fleet.messages import Grant
from fleet.places import Place
from fleet.planning import executors
from fleet.planning.executors import UNMANNED_DRIVERS, WHOLE_DRIVERS
from fleet.settings import CentreSettings
from fleet.store.database import Store
from fleet.store.tables import Attempt, Publication, Site, Transfer
from fleet.store.transfers import LIVE

_PLACE: TypeAdapter[Place] = TypeAdapter(Place)


class _Keys(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    key_id: str
    secret: SecretStr
    token: SecretStr | None = None
    expires: AwareDatetime | None = None


def _sendable(secret: SecretStr) -> SecretStr:
    """Take a token without the blanks around it, as a YAML block leaves them."""
    value = secret.get_secret_value().strip()
    if not value.isascii() or not value.isprintable() or not value or " " in value:
        raise ValueError("a token has printable ASCII characters only, and no blanks")
    return SecretStr(value)


_Token = Annotated[SecretStr, AfterValidator(_sendable)]


class _Tokens(BaseModel):
    """What opens a repository; one token does both where no other is given."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    token: _Token
    publish_token: _Token | None = None
    expires: AwareDatetime | None = None


def grant(
    session: Session, settings: CentreSettings, transfer: Transfer, executor: str, now: datetime
) -> Grant | None:
    """Return what opens a transfer's site for another that works for it; None if it has a worker.

    Raises:
        RefusedError: its keys cannot be had, or not for this one; the message says what to do.
    """
    target = session.get_one(Site, transfer.target_id)
    if target.driver not in UNMANNED_DRIVERS:
        return None
    keys = _keys(settings, target, now)
    if problem := executors.obstacle(facts.site(session.get_one(Site, executor))):
        raise RefusedError(f"nothing opens {target.id} to {executor}: {problem}")
    token = keys.token.get_secret_value() if keys.token else None
    place = _place(session, target, transfer.version_id)
    if isinstance(keys, _Tokens):
        return Grant(site=target.id, place=place, token=token, expires=keys.expires)
    return Grant(
        site=target.id,
        place=place,
        key_id=keys.key_id,
        secret=keys.secret.get_secret_value(),
        token=token,
        expires=keys.expires,
    )


def publishing(settings: CentreSettings, site: Site, now: datetime) -> str:
    """Return the token that publishes at a repository.

    Raises:
        RefusedError: it cannot be had; the message says what to do.
    """
    keys = _keys(settings, site, now)
    assert isinstance(keys, _Tokens)
    return (keys.publish_token or keys.token).get_secret_value()


def _place(session: Session, target: Site, version: str | None) -> Place:
    """Say where a site lies; of a repository, the draft or record of the version."""
    place: dict[str, Any] = {"driver": target.driver, **target.store}
    if target.driver in WHOLE_DRIVERS:
        found = select(Publication.record).where(
            Publication.version_id == version, Publication.site_id == target.id
        )
        place["record"] = session.exec(found).first() or ""
    return _PLACE.validate_python(place)


def renew(store: Store, settings: CentreSettings, attempt_id: str, site: str) -> Grant:
    """Return what opens the site that an attempt works for, to whoever holds that attempt.

    Raises:
        NotFoundError: there is no such attempt at this site, or it has ended.
        RefusedError: there are no keys, or it works for nobody else.
    """
    with store.read() as session:
        attempt = session.get(Attempt, attempt_id)
        if attempt is None or attempt.site_id != site:
            raise NotFoundError(f"site {site} has no attempt {attempt_id}")
        transfer = session.get_one(Transfer, attempt.transfer_id)
        if transfer.fence != attempt.fence or transfer.state not in LIVE:
            raise NotFoundError(f"attempt {attempt_id} has ended, or was superseded")
        found = grant(session, settings, transfer, site, store.now(session))
    if found is None:
        raise RefusedError(f"attempt {attempt_id} works for {site} itself")
    return found


def lacking(settings: CentreSettings, target: Site, now: datetime) -> str:
    """Say why a site cannot be opened now; empty where it can."""
    try:
        _keys(settings, target, now)
    except RefusedError as error:
        return str(error)
    return ""


def _keys(settings: CentreSettings, target: Site, now: datetime) -> _Keys | _Tokens:
    path, site = settings.keys_file, target.id
    kind: type[_Keys | _Tokens] = _Tokens if target.driver in WHOLE_DRIVERS else _Keys
    if path is None:
        raise RefusedError(f"nothing opens {site}: name the file with its keys in FLEET_KEYS_FILE")
    try:
        text = _private(path)
        found = yaml.safe_load(text)
        given = found.get(site) if isinstance(found, dict) else None
        if given is None:
            names = "token" if kind is _Tokens else "key_id and secret"
            raise RefusedError(f"{path} has no keys of {site}: add its {names}")
        keys = kind.model_validate(given)
    except (OSError, UnicodeDecodeError) as error:
        raise RefusedError(f"{path}, with the keys of {site}, cannot be read: {error}") from error
    except yaml.YAMLError:  # its message shows the line, and with it what it holds
        raise RefusedError(f"{path}, with the keys of {site}, is no YAML") from None
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise RefusedError(f"{path}: {site}.{where}: {first['msg']}") from None
    if keys.expires is not None and keys.expires <= now:
        raise RefusedError(
            f"the keys of {site} in {path} expired {keys.expires:%Y-%m-%d %H:%M} UTC: renew them"
        )
    return keys


def _private(path: Path) -> str:
    if stat.S_IMODE(path.stat().st_mode) & (stat.S_IRWXG | stat.S_IRWXO):
        raise RefusedError(f"{path} holds keys and others may read it: chmod 600 {path}")
    return path.read_text(encoding="utf-8")
