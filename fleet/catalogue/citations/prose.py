"""A citation as people put it into a list of references, after APA's seventh edition (10.9)."""

from typing import Final

from fleet.catalogue.citations.work import Work
from fleet.descriptions import Creator, Language

_VERSION: Final = {"en": "Version", "fr": "version"}
_DATASET: Final = {"en": "Data set", "fr": "Ensemble de données"}
_MOST: Final = 20  # authors are named; then the last


def prose(work: Work, language: Language) -> str:
    """Cite a work in one language."""
    title = work.title.in_(language)
    if work.version:
        title = f"{title} ({_VERSION[language]} {work.version})"
    parts = [f"{title} [{_DATASET[language]}]", work.publisher]
    names, year = _names(work, language), f"({work.published.year})"
    if names:
        parts.insert(0, f"{names} {year}")
    else:
        parts[0] += f" {year}"
    told = " ".join(f"{one.rstrip('.')}." for one in parts if one)
    return f"{told} {work.url}".strip()


def _names(work: Work, language: Language) -> str:
    names = [_name(one) for one in work.creators]
    if len(names) > _MOST:
        return f"{', '.join(names[: _MOST - 1])}, … {names[-1]}"
    *most, last = names or [""]
    if not most:
        return last
    return f"{', '.join(most)}, & {last}" if language == "en" else f"{', '.join(most)} et {last}"


def _name(one: Creator) -> str:
    initials = " ".join(f"{part[0]}." for part in one.given.split())
    return f"{one.name}, {initials}" if initials else one.name
