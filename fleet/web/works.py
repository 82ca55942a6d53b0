"""The addresses of datasets and versions that stay, whatever the language or the format.

::

    /datasets/DATASET                       the page, or what ``Accept`` asks for
    /datasets/DATASET/versions/LABEL        likewise of one version
    …/cite.bib  cite.csl.json  cite.datacite.json  cite.jsonld  cite.croissant.json
    …/linkset.json

A dataset's own documents cite it with all that it will have; a version's cite just that.
"""

import json
from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import APIRouter, Header, Response
from fastapi.responses import JSONResponse, RedirectResponse

from fleet.catalogue.citations.formats import BY_FILE, FORMATS, Format
from fleet.catalogue.citations.work import Work
from fleet.control import citing
from fleet.control.errors import NotFoundError
from fleet.settings import CentreSettings
from fleet.web import signposts
from fleet.web.accepts import best
from fleet.web.access import SettingsDep, StoreDep
from fleet.web.words import preferred

router = APIRouter(include_in_schema=False)
READ: Final = ["GET", "HEAD"]
_KEPT: Final = "public, max-age=300"
_VARIES: Final = "Accept, Accept-Language"


@dataclass(frozen=True, slots=True)
class _Page:
    """The page itself, among what may be asked for."""

    media_type: str = "text/html"
    profile: str = ""


@dataclass(frozen=True, slots=True)
class _Linkset:
    media_type: str = signposts.LINKSET_TYPE
    profile: str = ""


_OFFERS: Final = (_Page(), *FORMATS, _Linkset())


@router.api_route("/datasets/{dataset}", methods=READ)
def dataset(
    dataset: str,
    store: StoreDep,
    settings: SettingsDep,
    accept: Annotated[str, Header()] = "",
    accept_language: Annotated[str, Header()] = "",
) -> Response:
    """Lead to a dataset's page, or cite it as the request asks for."""
    with store.read() as session:
        found = citing.work(session, settings, dataset)
    return _negotiated(found, settings, accept, accept_language)


@router.api_route("/datasets/{dataset}/versions/{label}", methods=READ)
def version(
    dataset: str,
    label: str,
    store: StoreDep,
    settings: SettingsDep,
    accept: Annotated[str, Header()] = "",
    accept_language: Annotated[str, Header()] = "",
) -> Response:
    """Lead to a version's page, or cite it as the request asks for."""
    with store.read() as session:
        found = citing.work(session, settings, dataset, label)
    return _negotiated(found, settings, accept, accept_language)


@router.api_route("/datasets/{dataset}/{file}", methods=READ)
def of_dataset(dataset: str, file: str, store: StoreDep, settings: SettingsDep) -> Response:
    """Cite a dataset in the format that a file's name says."""
    form = _named(file)
    with store.read() as session:
        return _written(citing.work(session, settings, dataset), form)


@router.api_route("/datasets/{dataset}/versions/{label}/{file}", methods=READ)
def of_version(
    dataset: str, label: str, file: str, store: StoreDep, settings: SettingsDep
) -> Response:
    """Cite a version in the format that a file's name says."""
    form = _named(file)
    with store.read() as session:
        return _written(citing.work(session, settings, dataset, label), form)


def _named(file: str) -> Format | None:
    """Find the format of a file's name; None is the linkset's."""
    if file not in BY_FILE and file != signposts.LINKSET:
        known = ", ".join((*BY_FILE, signposts.LINKSET))
        raise NotFoundError(f"there is no {file!r} here: ask for one of {known}")
    return BY_FILE.get(file)


def _negotiated(work: Work, settings: CentreSettings, accept: str, languages: str) -> Response:
    chosen = best(accept, _OFFERS)
    if chosen is None:
        offered = [one.media_type for one in _OFFERS]
        return JSONResponse({"detail": "not to be had", "offered": offered}, 406, _headers(_VARIES))
    if isinstance(chosen, _Page):
        headers = _headers(_VARIES) | {"Link": signposts.header(signposts.of_page(work))}
        page = f"/{preferred(languages)}{work.page.removeprefix(settings.centre_url.rstrip('/'))}"
        return RedirectResponse(page, 303, headers)
    response = _written(work, chosen if isinstance(chosen, Format) else None)
    response.headers["Vary"] = _VARIES
    return response


def _written(work: Work, form: Format | None) -> Response:
    """Answer with a document; without a format with the linkset."""
    headers = _headers() | {"Link": signposts.header(signposts.of_document(work))}
    if form is None:
        body = json.dumps(signposts.linkset(work), ensure_ascii=False)
        return Response(body.encode(), 200, headers, signposts.LINKSET_TYPE)
    headers["Content-Disposition"] = f'inline; filename="{form.file}"'
    return Response(form.write(work).encode(), 200, headers, form.content_type)


def _headers(varies: str = "") -> dict[str, str]:
    told = {"Cache-Control": _KEPT, "Access-Control-Allow-Origin": "*"}
    return told | ({"Vary": varies} if varies else {})
