"""Public pages, in English and French."""

from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Header, Request
from fastapi.responses import HTMLResponse, RedirectResponse
from fastapi.templating import Jinja2Templates

from fleet.control import views
from fleet.web.access import StoreDep
from fleet.web.words import LANGUAGES, Language, words_of

router = APIRouter(include_in_schema=False)
_templates = Jinja2Templates(directory=Path(__file__).parent / "templates")


@router.get("/")
def root(accept_language: Annotated[str, Header()] = "") -> RedirectResponse:
    """Send a visitor to the pages in the language asked for first."""
    asked = [part.split(";")[0].strip()[:2].lower() for part in accept_language.split(",")]
    language = next((one for one in asked if one in LANGUAGES), "en")
    return RedirectResponse(f"/{language}/", status_code=307, headers={"Vary": "Accept-Language"})


@router.get("/{language}/")
def home(language: Language, request: Request, store: StoreDep) -> HTMLResponse:
    """List datasets and sites."""
    with store.read() as session:
        details = {"datasets": views.datasets(session), "sites": views.sites(session)}
    return _page(request, language, "home.html", "", details)


@router.get("/{language}/datasets/{dataset}")
def dataset(language: Language, dataset: str, request: Request, store: StoreDep) -> HTMLResponse:
    """Show where one dataset is, and how to get it."""
    with store.read() as session:
        view = views.dataset(session, dataset, store.now(session))
    return _page(request, language, "dataset.html", f"datasets/{view.id}", {"dataset": view})


def _page(
    request: Request, language: Language, template: str, path: str, details: dict[str, Any]
) -> HTMLResponse:
    other: Language = "fr" if language == "en" else "en"
    context = {"words": words_of(language), "language": language, "other": other, "path": path}
    return _templates.TemplateResponse(request, template, context | details)
