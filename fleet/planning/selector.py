"""Selectors: a small expression over a site's attributes, such as ``kind=node & region!=eu``.

Grammar, loosest first: ``or := and ('|' and)*``, ``and := not ('&' not)*``,
``not := '!' not | '(' or ')' | name ('=' | '!=') value (',' value)*``.  ``country=CA,NL`` is one of
the two, ``country!=CA,NL`` neither.  Case makes no difference to values.  An empty selector matches
every site.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from operator import attrgetter
from typing import NoReturn

from fleet.planning.facts import SiteFacts

ATTRIBUTES = (
    "id",
    "kind",
    "driver",
    "region",
    "country",
    "jurisdiction",
    "operator",
    "provider",
    "arch",
    "trusted",
)
_LONGEST = 500
_DEEPEST = 20  # signs and parentheses within each other
_TOKEN = re.compile(r"\s*(?:(?P<word>[A-Za-z0-9._:-]+)|(?P<sign>!=|[=&|!(),]))")


Matcher = Callable[[SiteFacts], bool]


class SelectorError(ValueError):
    """A selector that cannot be read; the message points at the character."""


@dataclass(frozen=True, slots=True)
class _Token:
    text: str
    at: int
    word: bool


@lru_cache(maxsize=1024)
def parse(text: str) -> Matcher:
    """Turn a selector into a test of sites.

    Raises:
        SelectorError: the text is not a selector.
    """
    if not text.strip():
        return lambda _site: True
    if len(text) > _LONGEST:
        raise SelectorError(f"selector: {len(text)} characters, and {_LONGEST} is the most")
    return _Parser(text).whole()


class _Parser:
    """Recursive descent over the tokens of one selector."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = self._tokens()
        self.next = 0
        self.depth = 0

    def whole(self) -> Matcher:
        matcher = self._either()
        if self._peek():
            self._fail("expected '&', '|' or the end")
        return matcher

    def _tokens(self) -> list[_Token]:
        tokens, at = [], 0
        while at < len(self.text.rstrip()):
            match = _TOKEN.match(self.text, at)
            if not match:
                at += len(self.text[at:]) - len(self.text[at:].lstrip())
                raise SelectorError(_pointing(self.text, at, f"unexpected {self.text[at]!r}"))
            kind = "word" if match["word"] else "sign"
            tokens.append(_Token(match[kind], match.start(kind), kind == "word"))
            at = match.end()
        return tokens

    def _peek(self) -> str:
        return self.tokens[self.next].text if self.next < len(self.tokens) else ""

    def _take(self) -> _Token:
        token = self.tokens[self.next]
        self.next += 1
        return token

    def _fail(self, problem: str) -> NoReturn:
        at = self.tokens[self.next].at if self.next < len(self.tokens) else len(self.text)
        raise SelectorError(_pointing(self.text, at, problem))

    def _either(self) -> Matcher:
        matchers = [self._both()]
        while self._peek() == "|":
            self._take()
            matchers.append(self._both())
        if len(matchers) == 1:
            return matchers[0]
        return lambda site: any(matcher(site) for matcher in matchers)

    def _both(self) -> Matcher:
        matchers = [self._not()]
        while self._peek() == "&":
            self._take()
            matchers.append(self._not())
        if len(matchers) == 1:
            return matchers[0]
        return lambda site: all(matcher(site) for matcher in matchers)

    def _not(self) -> Matcher:
        self.depth += 1
        if self.depth > _DEEPEST:
            self._fail(f"nested more than {_DEEPEST} deep")
        try:
            return self._atom()
        finally:
            self.depth -= 1

    def _atom(self) -> Matcher:
        if self._peek() == "!":
            self._take()
            inner = self._not()
            return lambda site: not inner(site)
        if self._peek() == "(":
            self._take()
            inner = self._either()
            if self._peek() != ")":
                self._fail("expected ')'")
            self._take()
            return inner
        return self._comparison()

    def _comparison(self) -> Matcher:
        name = self._word(f"expected one of {', '.join(ATTRIBUTES)}")
        if name not in ATTRIBUTES:
            self.next -= 1
            self._fail(f"sites have no {name!r}, only {', '.join(ATTRIBUTES)}")
        if self._peek() not in {"=", "!="}:
            self._fail(f"expected '=' or '!=' after {name!r}")
        equal = self._take().text == "="
        values = {self._word(f"expected a value for {name!r}").casefold()}
        while self._peek() == ",":
            self._take()
            values.add(self._word(f"expected one more value for {name!r}").casefold())
        attribute = attrgetter(name)
        return lambda site: (str(attribute(site)).casefold() in values) == equal

    def _word(self, problem: str) -> str:
        if self.next >= len(self.tokens) or not self.tokens[self.next].word:
            self._fail(problem)
        return self._take().text


def _pointing(text: str, at: int, problem: str) -> str:
    return f"selector, character {at + 1}: {problem}\n  {text}\n  {' ' * at}^"
