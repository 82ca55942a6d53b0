"""Searches: the part of the query string syntax that a careful client needs.

``FIELD:"words"`` and ``FIELD:word``, joined by ``AND``; documented as OpenSearch's query string
(https://inveniordm.docs.cern.ch/reference/rest_api_drafts_records/, "Search records"). Whatever
else that syntax has is refused, so that no test rests on a guess of this rehearsal.
"""

import re
from typing import Any

from fleet.rehearsal.zenodo.state import Json, Refused

TERM = re.compile(r'(?:([\w.]+):)?(?:"([^"]*)"|([\w-]+))')
# Zenodo's old names of fields (zenodo-rdm, ``invenio.cfg``: SearchFieldTransformer).
OLD_NAMES = {
    "conceptdoi": "parent.pids.doi.identifier",
    "conceptrecid": "parent.id",
    "doi": "pids.doi.identifier",
    "recid": "id",
    "title": "metadata.title",
    "version": "metadata.version",
}

Term = tuple[str | None, list[str]]


def parse(query: str) -> list[Term]:
    """Read a query, or refuse it."""
    return [_term(word) for word in re.split(r"\s+AND\s+", query.strip()) if query.strip()]


def _term(text: str) -> Term:
    found = TERM.fullmatch(text)
    if found is None:
        raise Refused(400, "Invalid query string syntax.")
    field, phrase, word = found.groups()
    return OLD_NAMES.get(field, field), _words(word if phrase is None else phrase)


def matches(terms: list[Term], document: Json) -> bool:
    """Tell whether a record, in the shape of InvenioRDM, meets all terms."""
    return all(
        any(_follows(words, _words(text)) for text in _texts(document, field))
        for field, words in terms
    )


def _texts(value: Any, path: str | None) -> list[str]:
    """Give the texts at a path, or with none all that there are."""
    if isinstance(value, list):
        return [text for item in value for text in _texts(item, path)]
    if isinstance(value, dict):
        if path is None:
            return [text for item in value.values() for text in _texts(item, None)]
        first, _, rest = path.partition(".")
        return _texts(value[first], rest or None) if first in value else []
    return [str(value).lower() if isinstance(value, bool) else str(value)]


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def _follows(wanted: list[str], words: list[str]) -> bool:
    """Tell whether the wanted words stand there one after the other."""
    return any(
        words[start : start + len(wanted)] == wanted
        for start in range(len(words) - len(wanted) + 1)
    )
