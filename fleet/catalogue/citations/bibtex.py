"""BibTeX, as BibLaTeX and reference managers read it (BibLaTeX manual, 2.1.1: ``@dataset``)."""

import re
from collections.abc import Iterator
from typing import Final
from unicodedata import category

from fleet.catalogue.citations.work import Work
from fleet.descriptions import Creator

_SPECIAL: Final = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "{": r"\textbraceleft{}",  # BibTeX counts braces that LaTeX would not
        "}": r"\textbraceright{}",
        **{one: f"\\{one}" for one in "#$%&_"},
    }
)
_NO_TEXT: Final = frozenset({"Cc", "Cs"})  # controls, and halves of signs
_MONTHS: Final = (
    *("jan", "feb", "mar", "apr", "may", "jun"),
    *("jul", "aug", "sep", "oct", "nov", "dec"),
)


def bibtex(work: Work) -> str:
    """Write an entry; what a title holds is kept as it is written, capitals too."""
    lines = [f"  {name:9} = {value}" for name, value in _fields(work)]
    return f"@dataset{{{_key(work)},\n" + ",\n".join(lines) + "\n}\n"


def _fields(work: Work) -> Iterator[tuple[str, str]]:
    if work.creators:
        yield "author", f"{{{' and '.join(map(_author, work.creators))}}}"
    yield "title", f"{{{{{escaped(work.title.in_('en'))}}}}}"
    if work.version:
        yield "version", f"{{{escaped(work.version)}}}"
    if work.publisher:
        yield "publisher", f"{{{{{escaped(work.publisher)}}}}}"
    yield "year", f"{{{work.published.year:04}}}"
    yield "month", _MONTHS[work.published.month - 1]
    if work.doi:
        yield "doi", f"{{{_verbatim(work.doi)}}}"
    if work.url:
        yield "url", f"{{{_verbatim(work.url)}}}"


def escaped(text: str) -> str:
    """Write plain text so that LaTeX sets just that, on one line."""
    plain = "".join(" " if category(one) in _NO_TEXT else one for one in text)
    return " ".join(plain.replace("\N{SOFT HYPHEN}", "").split()).translate(_SPECIAL)


def _author(one: Creator) -> str:
    """Name a person by parts; each is in braces, or it would be taken apart."""
    if one.given:
        return f"{{{escaped(one.name)}}}, {{{escaped(one.given)}}}"
    return f"{{{escaped(one.name)}}}"


def _verbatim(address: str) -> str:
    """Write what is taken as it stands, without the signs that would end it."""
    return re.sub(r"[\\{}\s]", lambda one: f"%{ord(one[0]):02X}", address)


def _key(work: Work) -> str:
    """Name the entry; the same work always gets the same name."""
    return re.sub(r"[^A-Za-z0-9_.:+-]+", "_", work.id.replace("@", ":")).strip("_") or "dataset"
