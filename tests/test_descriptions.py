"""What may be said of a dataset."""

import pytest
from pydantic import ValidationError

from fleet.descriptions import Description, Title

FULL = {
    "title": {"en": "Buildings", "fr": "Bâtiments"},
    "summary": {"fr": "Tous les bâtiments.\n\nDu Canada."},
    "creators": [{"name": "Statistics Canada"}, {"name": "Roy", "given": "Gabrielle"}],
    "publisher": "Data for Canada",
    "licence": {"id": "OGL-Canada-2.0", "url": "https://open.canada.ca/licence"},
    "keywords": {"en": ["buildings"], "fr": ["bâtiments"]},
    "extent": {"bbox": [-141.0, 41.7, -52.6, 83.1], "start": "2021-01-01", "end": "2021-12-31"},
}


def test_a_description_is_kept_and_read_again_as_it_was() -> None:
    read = Description.model_validate(FULL)
    assert Description.model_validate(read.model_dump(mode="json")) == read


def test_nothing_has_to_be_said() -> None:
    assert Description.model_validate({}) == Description()


@pytest.mark.parametrize(
    ("title", "english", "french"),
    [
        (Title(en="Roads", fr="Routes"), "Roads", "Routes"),
        (Title(en="Roads"), "Roads", "Roads"),
        (Title(fr="Routes"), "Routes", "Routes"),
    ],
)
def test_the_other_language_stands_in_for_one_that_lacks(
    title: Title, english: str, french: str
) -> None:
    assert (title.in_("en"), title.in_("fr")) == (english, french)


@pytest.mark.parametrize(
    "bad",
    [
        {"title": {"en": "two\nlines"}},
        {"titel": {"en": "Roads"}},
        {"creators": [{"name": ""}]},
        {"creators": [{"name": "Roy", "orcid": "12"}]},
        {"homepage": "javascript:alert(1)"},
        {"extent": {"bbox": [0, 10, 0, -10]}},
        {"extent": {"bbox": [0, 0, float("nan"), 1]}},
        {"extent": {"start": "2022-01-01", "end": "2021-01-01"}},
    ],
)
def test_what_makes_no_sense_is_refused(bad: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Description.model_validate(bad)
