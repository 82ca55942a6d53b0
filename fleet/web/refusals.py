"""What the redirector cannot give, in plain words: a page for people, JSON for programs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fastapi.templating import Jinja2Templates
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from fleet.web.words import preferred, words_of

_templates = Jinja2Templates(directory=Path(__file__).parent / "templates")
_LONGEST = 200  # of what was asked for, said again


@dataclass
class Refusal(Exception):
    """Why something is not given: ``text`` is one of ``words``, with ``about`` filled in."""

    status: int
    text: str
    about: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    reasons: tuple[str, ...] = ()


def later(
    text: str, seconds: int, about: Mapping[str, str] | None = None, reasons: tuple[str, ...] = ()
) -> Refusal:
    """Refuse for now: in ``seconds`` it may be given."""
    return Refusal(503, text, about or {}, {"Retry-After": str(seconds)}, reasons)


def answer(refusal: Refusal, request: Request) -> Response:
    """Say it in the form and the language that are asked for; nobody keeps it."""
    about = {name: _shortened(said) for name, said in refusal.about.items()}
    headers = {**refusal.headers, "Cache-Control": "no-store", "Vary": "Accept, Accept-Language"}
    if not wants_page(request):
        said: dict[str, Any] = {"detail": words_of("en")[refusal.text].format(**about)}
        if refusal.reasons:
            said["reasons"] = refusal.reasons
        return JSONResponse(said, refusal.status, headers)
    language = preferred(request.headers.get("accept-language", ""))
    words = words_of(language)
    context = {
        "words": words,
        "language": language,
        "other": "fr" if language == "en" else "en",
        "path": "",
        "said": words[refusal.text].format(**about),
        "reasons": refusal.reasons,
    }
    return _templates.TemplateResponse(request, "refusal.html", context, refusal.status, headers)


def wants_page(request: Request) -> bool:
    """Whether a person's browser asks: programs take anything, and get JSON."""
    return "text/html" in request.headers.get("accept", "")


def _shortened(said: str) -> str:
    return said if len(said) <= _LONGEST else f"{said[:_LONGEST]}…"
