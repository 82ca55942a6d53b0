"""What is said of datasets: read from an admin's file, kept, and told to repositories."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from sqlmodel import Session

from fleet import repositories
from fleet.catalogue.licences import NO_LICENCE
from fleet.control import publications
from fleet.control.errors import NotFoundError, RefusedError
from fleet.descriptions import LANGUAGES, Description
from fleet.repositories import Creator, Licence, Text
from fleet.store import versioning
from fleet.store.database import Store
from fleet.store.tables import Dataset, Version

_MOST = 1024 * 1024
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]{0,63}")
_COMMONS = re.compile(r"^https?://creativecommons\.org/licenses/([a-z-]+)/(\d\.\d)(?:/|$)")
_RETRIEVED = {
    "en": "Licence, as its source stated it on {date}: {licence}",
    "fr": "Licence, telle que sa source l’indiquait le {date} : {licence}",
}


class LackingError(RefusedError):
    """Something is not said that a record cannot do without."""


def read(path: Path) -> Description:
    """Read a description (YAML).

    Raises:
        RefusedError: it cannot be read; the message names the field.
    """
    try:
        with path.open("rb") as file:
            text = file.read(_MOST + 1)
    except OSError as error:
        raise RefusedError(f"{path} cannot be read: {error.strerror}") from error
    if len(text) > _MOST:
        raise RefusedError(f"{path} is longer than {_MOST:,} bytes, which no description is")
    try:
        data = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise RefusedError(f"{path} is no YAML: {' '.join(str(error).split())}") from error
    if not isinstance(data, dict):
        raise RefusedError(f"{path}: give fields, such as title, summary and creators")
    try:
        return Description.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(_places(first["loc"])) or "it"
        said = first["msg"].removeprefix("Value error, ")
        raise RefusedError(f"{path}: {where}: {said}") from error


def _places(parts: tuple[int | str, ...]) -> Iterator[str]:
    """Count from one, as people do."""
    return (str(part + 1) if isinstance(part, int) else part for part in parts)


def keep(store: Store, dataset: str, description: Description) -> str:
    """Say this of a dataset from now on; return its id.  What waited for it is asked for again.

    Raises:
        NotFoundError: there is no such dataset.
    """
    with store.write() as session:
        row = _dataset(session, dataset)
        # first: who ends a publication takes that before the dataset's row
        publications.look_at_dataset(session, row.id, store.now(session))
        row.description = description.model_dump(mode="json", exclude_defaults=True)
        row.title = description.title.in_("en") or row.title
        return row.id


def show(session: Session, dataset: str) -> dict[str, Any]:
    """Tell what is said of a dataset.

    Raises:
        NotFoundError: there is no such dataset.
    """
    row = _dataset(session, dataset)
    said = {"title": row.title, "doi": row.doi or "", "description": row.description}
    return {"dataset": row.id, **said}


def of(session: Session, dataset: str) -> Description:
    """Return what is said of a dataset."""
    return Description.model_validate(session.get_one(Dataset, dataset).description)


def for_record(
    session: Session, version: Version, *, whole: bool, mirrors: tuple[str, ...]
) -> repositories.Description:
    """Say of a version what its record says of it.

    Raises:
        LackingError: a record cannot do without something that nobody said.
    """
    said = of(session, version.dataset_id)
    licence = _licence(said, version)
    lacking = [
        name
        for name, there in (
            ("title", said.title.en or said.title.fr),
            ("summary", said.summary.en or said.summary.fr),
            ("creators", said.creators),
            ("publisher", said.publisher),
            ("licence", licence),
        )
        if not there
    ]
    if lacking or licence is None or version.published_at is None:
        raise LackingError(
            f"a record cannot do without {', '.join(lacking)}: write that into a file and say "
            f"`fleet dataset describe {version.dataset_id} FILE`"
        )
    return repositories.Description(
        titles=tuple(_texts(said.title.en, said.title.fr)),
        summaries=tuple(
            Text(one.language, f"{one.text}\n\n{_retrieved(version, one.language)}".strip())
            for one in _texts(said.summary.en, said.summary.fr)
        ),
        creators=tuple(
            Creator(one.name, one.given, one.orcid, one.affiliation) for one in said.creators
        ),
        published=version.published_at.date(),
        label=version.label,
        licence=licence,
        publisher=said.publisher,
        whole=whole,
        mirrors=mirrors,
        previous_doi=_previous_doi(session, version),
        same_doi=version.doi or "",
        keywords=(*said.keywords.en, *said.keywords.fr),
    )


def _dataset(session: Session, name: str) -> Dataset:
    found = versioning.find_dataset(session, name)
    if found is None:
        raise NotFoundError(f"there is no dataset {name!r}; `fleet status` names them")
    return found


def _texts(*texts: str) -> Iterator[Text]:
    return (Text(language, text) for language, text in zip(LANGUAGES, texts, strict=True) if text)


def _licence(said: Description, version: Version) -> Licence | None:
    """Choose the licence: the version's own where that has an id, else what an admin said of it."""
    own, given = version.licence.strip(), said.licence
    if found := _COMMONS.search(own):
        return Licence(f"cc-{found[1]}-{found[2]}")
    if _ID.fullmatch(own) and own.lower() not in NO_LICENCE:
        return Licence(own)
    title = given.title.in_("en")
    return Licence(given.id, title, given.url) if given.id or title else None


def _retrieved(version: Version, language: str) -> str:
    """Say which licence the source stated, and when: it may state another one later."""
    if not version.licence or version.licence_retrieved_at is None:
        return ""
    date = version.licence_retrieved_at.date().isoformat()
    return _RETRIEVED[language].format(date=date, licence=version.licence)


def _previous_doi(session: Session, version: Version) -> str:
    before = versioning.before(session, version)
    return (before.doi or "") if before else ""
