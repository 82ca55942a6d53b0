"""Who asks: the store and settings of a request, and the checks of its bearer token."""

import hmac
from typing import Annotated

from fastapi import Depends, Header, HTTPException, Request

from fleet.control import sites
from fleet.settings import CentreSettings
from fleet.store.database import Store


def _store(request: Request) -> Store:
    store: Store = request.app.state.store
    return store


def _settings(request: Request) -> CentreSettings:
    settings: CentreSettings = request.app.state.settings
    return settings


StoreDep = Annotated[Store, Depends(_store)]
SettingsDep = Annotated[CentreSettings, Depends(_settings)]


def _bearer(authorization: Annotated[str, Header()] = "") -> str:
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise HTTPException(
            401, "send `Authorization: Bearer <token>`", {"WWW-Authenticate": "Bearer"}
        )
    return token


Bearer = Annotated[str, Depends(_bearer)]


def _site(store: StoreDep, token: Bearer) -> str:
    with store.read() as session:
        site = sites.by_token(session, token)
    if site is None or site.retired:
        raise HTTPException(403, "this token belongs to no active site")
    return site.id


def _admin(settings: SettingsDep, token: Bearer) -> None:
    wanted = settings.admin_token.get_secret_value()
    if not wanted:
        raise HTTPException(403, "the admin API is closed: FLEET_ADMIN_TOKEN is not set")
    if not hmac.compare_digest(wanted.encode(), token.encode()):
        raise HTTPException(403, "this is not the admin token")


SiteDep = Annotated[str, Depends(_site)]
AdminDep = Depends(_admin)
