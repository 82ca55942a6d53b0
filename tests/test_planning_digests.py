"""Which digests are worth their time."""

import pytest

from fleet.planning.digests import wants_md5
from fleet.planning.facts import RuleFacts
from tests.planning_support import site

SITES = [
    site("toronto"),
    site("r2", kind="object_store"),
    site("zenodo", kind="repository"),
    site("attic", kind="archive"),
]


@pytest.mark.parametrize(
    ("selector", "wanted"),
    [
        ("kind=node", False),
        ("kind=node | kind=object_store", False),
        ("id=zenodo", True),
        ("id=attic | id=toronto", True),
        ("kind!=node", True),
        ("id=nobody", False),
        ("", True),
    ],
)
def test_md5_is_wanted_where_a_repository_or_an_archive_is_selected(
    selector: str, wanted: bool
) -> None:
    assert wants_md5(RuleFacts(selector=selector), SITES) is wanted


def test_nobody_wants_md5_where_there_are_nodes_only() -> None:
    assert not wants_md5(RuleFacts(), [site("toronto")])
    assert not wants_md5(RuleFacts(), [])
