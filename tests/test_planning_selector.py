"""Selectors: what they mean, and how they are refused."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleet.planning import selector
from fleet.planning.facts import SiteFacts
from fleet.planning.selector import ATTRIBUTES, SelectorError
from tests.planning_support import site, unhurried

_LOOSE, _TIGHT, _ATOM = range(3)  # how strongly an expression holds together: |, &, the rest
_blanks = st.sampled_from(["", " ", "\t ", "  "])
_leaves = st.sampled_from(
    [
        ("country", ("CA",)),
        ("country", ("NL", "de")),
        ("region", ("eu-nl",)),
        ("trusted", ("true",)),
        ("trusted", ("false", "true")),
    ]
)
_GRAMMAR = st.text(alphabet="idkn=!&|(), ", max_size=60)

Meaning = Callable[[SiteFacts], bool]
Expression = tuple[str, int, Meaning]

TRUTHS = [
    site("one", country=country, region=region, trusted=trusted)
    for country in ("CA", "NL")
    for region in ("eu-nl", "ca-on")
    for trusted in (True, False)
]


@st.composite
def expressions(draw: st.DrawFn, depth: int = 2) -> Expression:
    """An expression of many signs; ``st.recursive`` would mostly make long chains of one."""
    kind = draw(st.sampled_from("&|!.")) if depth else "."
    if kind == ".":
        return _comparison(draw(_leaves), draw(st.sampled_from(["=", "!="])), draw(_blanks))
    if kind == "!":
        return _not(draw(expressions(depth=depth - 1)))
    count = draw(st.sampled_from([1, 2, 2, 3] if kind == "&" else [2, 3]))
    parts = [draw(expressions(depth=depth - 1)) for _ in range(count)]
    return _and(parts) if kind == "&" else _or(parts)


def _comparison(leaf: tuple[str, tuple[str, ...]], sign: str, blank: str) -> Expression:
    name, values = leaf
    listed = f"{blank},{blank}".join(values)

    def meaning(one: SiteFacts) -> bool:
        among = str(getattr(one, name)).lower() in [value.lower() for value in values]
        return among == (sign == "=")

    return f"{blank}{name}{blank}{sign}{blank}{listed}{blank}", _ATOM, meaning


def _within(expression: Expression, least: int) -> str:
    """Write an expression where only one that holds together so strongly may stand bare."""
    text, strength, _ = expression
    return text if strength >= least else f"({text})"


def _not(inner: Expression) -> Expression:
    return f"!{_within(inner, _ATOM)}", _ATOM, lambda one: not inner[2](one)


def _and(parts: list[Expression]) -> Expression:
    """One part alone is put in brackets that change nothing."""
    if len(parts) == 1:
        return f" ({parts[0][0]}) ", _ATOM, parts[0][2]
    text = "&".join(_within(part, _ATOM) for part in parts)
    return text, _TIGHT, lambda one: all(part[2](one) for part in parts)


def _or(parts: list[Expression]) -> Expression:
    text = "|".join(_within(part, _TIGHT) for part in parts)
    return text, _LOOSE, lambda one: any(part[2](one) for part in parts)


@settings(unhurried, max_examples=200)
@given(expressions())
def test_a_selector_means_what_its_signs_say_with_or_loosest_and_not_tightest(
    expression: Expression,
) -> None:
    text, _, meaning = expression
    matches = selector.parse(text)
    assert [matches(one) for one in TRUTHS] == [meaning(one) for one in TRUTHS]


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("!country=CA & region=eu-nl", "(!country=CA) & region=eu-nl"),
        ("!country=CA | region=eu-nl", "(!country=CA) | region=eu-nl"),
        ("country=CA | region=eu-nl & trusted=true", "country=CA | (region=eu-nl & trusted=true)"),
        ("country=CA & region=eu-nl | trusted=true", "(country=CA & region=eu-nl) | trusted=true"),
        ("!country=CA", "country!=CA"),
    ],
)
def test_not_binds_tighter_than_and_which_binds_tighter_than_or(text: str, same: str) -> None:
    one, other = selector.parse(text), selector.parse(same)
    assert [one(site) for site in TRUTHS] == [other(site) for site in TRUTHS]


@unhurried
@given(expressions())
def test_the_case_of_values_makes_no_difference(expression: Expression) -> None:
    matches = selector.parse(expression[0])
    for one in TRUTHS:
        other = replace(one, country=one.country.swapcase(), region=one.region.swapcase())
        assert matches(one) == matches(other)


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_every_attribute_of_a_site_can_be_asked_for(name: str) -> None:
    value: object = True if name == "trusted" else "This.one-1:a_b"
    other: object = False if name == "trusted" else "that"
    is_it, is_not = selector.parse(f"{name}={value}"), selector.parse(f"{name}!={value}")
    for given_value, same in ((value, True), (other, False)):
        one = site("any", **{name: given_value})
        assert (is_it(one), is_not(one)) == (same, not same)


@pytest.mark.parametrize("text", ["", " ", "\t\n"])
def test_an_empty_selector_matches_every_site(text: str) -> None:
    assert selector.parse(text)(site("toronto"))


@unhurried
@given(st.text(max_size=60) | _GRAMMAR)
def test_whatever_is_no_selector_is_refused_with_a_pointer_into_it(text: str) -> None:
    refusal = None
    try:
        assert selector.parse(text)(site("toronto")) in {True, False}
    except SelectorError as error:
        refusal = error
    if refusal:
        column = _column(refusal)
        assert 1 <= column <= len(text) + 1
        assert str(refusal).endswith(f"\n  {text}\n  {' ' * (column - 1)}^")


@unhurried
@given(expressions(), st.data())
def test_a_foreign_character_is_pointed_at_wherever_it_stands(
    expression: Expression, data: st.DataObject
) -> None:
    text = expression[0]
    at = data.draw(st.integers(0, len(text)))
    with pytest.raises(SelectorError, match="unexpected '%'") as caught:
        selector.parse(f"{text[:at]}%{text[at:]}")
    assert _column(caught.value) == at + 1


@pytest.mark.parametrize(
    ("text", "column", "problem"),
    [
        ("knd=node", 1, "sites have no 'knd', only id, kind"),
        ("Kind=node", 1, "sites have no 'Kind'"),
        ("kind", 5, "expected '=' or '!=' after 'kind'"),
        ("kind node", 6, "expected '=' or '!=' after 'kind'"),
        ("kind=", 6, "expected a value for 'kind'"),
        ("kind==node", 6, "expected a value for 'kind'"),
        ("kind=&id=a", 6, "expected a value for 'kind'"),
        ("kind=,node", 6, "expected a value for 'kind'"),
        ("kind=node,", 11, "expected one more value for 'kind'"),
        ("kind=node,|id=a", 11, "expected one more value for 'kind'"),
        ("kind=node &", 12, "expected one of id, kind"),
        ("kind=node id=a", 11, "expected '&', '|' or the end"),
        ("(kind=node", 11, "expected ')'"),
        ("(kind=node id=a)", 12, "expected ')'"),
        ("kind=node)", 10, "expected '&', '|' or the end"),
        ("!", 2, "expected one of id, kind"),
        ("()", 2, "expected one of id, kind"),
        ("region=québec", 10, "unexpected 'é'"),
        ("kind=node ; id=a", 11, "unexpected ';'"),
    ],
)
def test_a_mistake_is_named_and_pointed_at(text: str, column: int, problem: str) -> None:
    with pytest.raises(SelectorError) as caught:
        selector.parse(text)
    assert _column(caught.value) == column
    assert str(caught.value).startswith(f"selector, character {column}: {problem}")


def test_truth_is_written_as_a_word() -> None:
    assert selector.parse("trusted=TRUE")(site("toronto", trusted=True))
    assert selector.parse("trusted!=true")(site("toronto"))


def _column(error: SelectorError) -> int:
    return int(str(error).removeprefix("selector, character ").partition(":")[0])


@pytest.mark.parametrize("text", ["(" * 240 + "id=a" + ")" * 240, "!" * 400 + "id=a", "(" * 499])
def test_what_is_nested_too_deeply_is_refused_and_not_followed(text: str) -> None:
    with pytest.raises(SelectorError, match="nested more than"):
        selector.parse(text)
