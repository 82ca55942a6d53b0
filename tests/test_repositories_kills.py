"""A publication that is killed anywhere gives one record, with one DOI and the right bytes."""

from pathlib import Path

import pytest

from fleet.rehearsal.service import Phase
from tests.publish_kills import Figures, memories, publications
from tests.storage_kills import PHASES


@pytest.mark.slow
@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("following", [False, True], ids=["first", "next"])
def test_a_publication_killed_at_any_request_is_completed_with_one_doi(
    tmp_path: Path, phase: Phase, following: bool
) -> None:
    figures = publications(tmp_path, phase, following=following)
    assert figures == Figures(kills=figures.kills)
    assert figures.kills >= 15


def test_a_publication_killed_around_any_memory_is_completed_with_one_doi(tmp_path: Path) -> None:
    figures = memories(tmp_path)
    assert figures == Figures(kills=6)
