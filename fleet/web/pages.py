"""Public pages, in English and French."""

from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Header, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from fastapi.templating import Jinja2Templates

from fleet.catalogue.citations.formats import FORMATS
from fleet.catalogue.citations.prose import prose
from fleet.catalogue.citations.schema_org import schema_org
from fleet.catalogue.citations.work import Work, address
from fleet.catalogue.item import CATALOG_FILE
from fleet.control import citing, views
from fleet.control.views import DatasetView
from fleet.web import refusals, signposts
from fleet.web.access import SettingsDep, StoreDep
from fleet.web.redirector import Redirector
from fleet.web.refusals import Refusal
from fleet.web.words import Language, preferred, words_of
from fleet.web.works import READ

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


@router.api_route("/{language}/datasets/{dataset}", methods=READ)
def dataset(
    language: Language, dataset: str, request: Request, store: StoreDep, settings: SettingsDep
) -> HTMLResponse:
    """Show where one dataset is, and how to get and to cite it."""
    with store.read() as session:
        view = views.dataset(session, dataset, store.now(session))
        if not view.versions:
            return _page(request, language, "dataset.html", _path(view.id), {"dataset": view})
        whole = citing.work(session, settings, view.id)
        public = view.version in {one.label for one in view.versions}
        shown = citing.work(session, settings, view.id, view.version) if public else whole
    details = _citations(view, whole, shown, language)
    return _signed(_page(request, language, "dataset.html", _path(view.id), details), whole)


@router.api_route("/{language}/datasets/{dataset}/versions/{label}", methods=READ)
def version(
    language: Language,
    dataset: str,
    label: str,
    request: Request,
    store: StoreDep,
    settings: SettingsDep,
) -> HTMLResponse:
    """Show likewise one version of a dataset."""
    with store.read() as session:
        view = views.dataset(session, dataset, store.now(session), label)
        work = citing.work(session, settings, view.id, label)
    details, path = _citations(view, work, work, language), _path(view.id, label)
    return _signed(_page(request, language, "dataset.html", path, details), work)


def _citations(view: DatasetView, of: Work, shown: Work, language: Language) -> dict[str, Any]:
    """Say how the version shown is cited, and for machines what the page is of."""
    path = _path(view.id, view.version)
    return {
        "dataset": view,
        "about": schema_org(of, language),
        "summary": shown.summary.in_(language).split("\n\n"),
        "licence": shown.licence,
        "cite": prose(shown, language),
        "formats": [(one.label, f"/{path}/{one.file}") for one in FORMATS],
        "whole": address(view.concept_doi or ""),
    }


def _signed(page: HTMLResponse, work: Work) -> HTMLResponse:
    page.headers["Link"] = signposts.header(signposts.of_page(work))
    return page


def _path(dataset: str, label: str = "") -> str:
    whole = f"datasets/{quote(dataset, safe='')}"
    return f"{whole}/versions/{quote(label, safe='')}" if label else whole


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
