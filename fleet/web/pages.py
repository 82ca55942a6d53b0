"""Public pages, in English and French."""

from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Header, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from fastapi.templating import Jinja2Templates

from fleet.catalogue.item import CATALOG_FILE
from fleet.control import views
from fleet.web import refusals
from fleet.web.access import SettingsDep, StoreDep
from fleet.web.redirector import Redirector
from fleet.web.refusals import Refusal
from fleet.web.words import Language, preferred, words_of

router = APIRouter(include_in_schema=False)
_templates = Jinja2Templates(directory=Path(__file__).parent / "templates")


@router.get("/")
def root(accept_language: Annotated[str, Header()] = "") -> RedirectResponse:
    """Send a visitor to the pages in the language asked for first."""
    to = f"/{preferred(accept_language)}/"
    return RedirectResponse(to, status_code=307, headers={"Vary": "Accept-Language"})


@router.get("/{language}/")
def home(
    language: Language, request: Request, store: StoreDep, settings: SettingsDep
) -> HTMLResponse:
    """List datasets and sites, and lead to the catalogue once it is written."""
    with store.read() as session:
        details: dict[str, Any] = {
            "datasets": views.datasets(session),
            "sites": views.sites(session),
        }
    details["catalogue"] = (settings.catalogue / CATALOG_FILE).exists()
    return _page(request, language, "home.html", "", details)


@router.get("/{language}/datasets/{dataset}")
def dataset(language: Language, dataset: str, request: Request, store: StoreDep) -> HTMLResponse:
    """Show where one dataset is, and how to get it."""
    with store.read() as session:
        view = views.dataset(session, dataset, store.now(session))
    return _page(request, language, "dataset.html", f"datasets/{view.id}", {"dataset": view})


@router.get("/{language}/mirrors/{dataset}/{version}/{path:path}", response_model=None)
def mirrors(
    language: Language, dataset: str, version: str, path: str, request: Request
) -> Response:
    """Show the mirrors of one file, and why each is or is not used."""
    redirector: Redirector = request.app.state.redirector
    try:
        file = redirector.mirrors(dataset, version, path, request.scope)
    except Refusal as refusal:
        return refusals.answer(refusal, request)
    here = quote(f"mirrors/{dataset}/{version}/{path}")
    return _page(request, language, "mirrors.html", here, {"file": file})


def _page(
    request: Request, language: Language, template: str, path: str, details: dict[str, Any]
) -> HTMLResponse:
    other: Language = "fr" if language == "en" else "en"
    context = {"words": words_of(language), "language": language, "other": other, "path": path}
    return _templates.TemplateResponse(request, template, context | details)
