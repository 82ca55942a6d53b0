"""What is said of a dataset, as Items and Collections say it: in both languages, or in one."""

import re
from typing import Any, Final

from fleet.descriptions import Description, Language

Json = dict[str, Any]

ENGLISH: Final[Language] = "en"
OTHERS: Final[dict[Language, Json]] = {
    "en": {"language": {"code": "en"}, "languages": [{"code": "fr"}]},
    "fr": {"language": {"code": "fr"}, "languages": [{"code": "en"}]},
}
TEXTS: Final = ("title", "description", "keywords")
_BETWEEN: Final = re.compile(r"\r?\n[^\S\n]*\n")  # paragraphs
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def texts(description: Description) -> Json:
    """Tell title, description (the first paragraph of the summary) and keywords, if given."""
    keywords = description.keywords
    said = {
        "title": description.title.in_("en"),
        "description": _first(description.summary.in_("en")),
        "keywords": list(keywords.en or keywords.fr),
        "fleet:title_fr": description.title.fr,
        "fleet:description_fr": _first(description.summary.fr),
        "fleet:keywords_fr": list(keywords.fr),
    }
    return {key: text for key, text in said.items() if text}


def in_language(texts: Json, language: Language) -> Json:
    """Make texts of one language of those in both; all else in them stays."""
    said = {key: text for key, text in texts.items() if not key.endswith("_fr")}
    if language == "fr":
        french = {key: texts.get(f"fleet:{key}_fr") for key in TEXTS}
        said |= {key: text for key, text in french.items() if text}
    return {**said, **OTHERS[language]}


def _first(text: str) -> str:
    """Return the first paragraph, on one line, without control characters."""
    return " ".join(_CONTROL.sub(" ", _BETWEEN.split(text.strip())[0]).split())
