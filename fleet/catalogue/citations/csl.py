"""CSL-JSON, as citation processors read it; one item, as resolvers of DOIs answer with.

Documented: https://docs.citationstyles.org and its ``csl-data.json``.
"""

from typing import Any

from fleet.catalogue.citations.work import Work
from fleet.descriptions import Creator

Json = dict[str, Any]


def csl(work: Work) -> Json:
    """Write a work's item."""
    day = work.published
    written: Json = {
        "id": work.id,
        "type": "dataset",
        "title": work.title.in_("en"),
        "author": [_name(one) for one in work.creators],
        "issued": {"date-parts": [[day.year, day.month, day.day]]},
        "publisher": work.publisher,
        "version": work.version,
        "DOI": work.doi,
        "URL": work.url,
        "abstract": work.summary.in_("en"),
        "keyword": ", ".join(work.keywords.en or work.keywords.fr),
        "language": "en" if work.title.en else "fr",
    }
    return {name: value for name, value in written.items() if value}


def _name(one: Creator) -> Json:
    return {"family": one.name, "given": one.given} if one.given else {"literal": one.name}
