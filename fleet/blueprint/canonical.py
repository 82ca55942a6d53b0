"""JSON of which equal values always give the same bytes.

Of what is written here (objects with ASCII keys, lists, strings, integers below 2^53, null) this is
exactly the form of RFC 8785, for which the standard library is enough: keys sorted, no space, only
what must be escaped is, and UTF-8.  A number with a fraction, whose form is the hard part of that
RFC, is refused.
"""

import json
from typing import Any, NoReturn

from fleet.blueprint.refused import BlueprintRefused

_MOST = 2**53 - 1


def dumps(value: Any) -> bytes:
    """Write ``value``, whose keys are ASCII.

    Raises:
        BlueprintRefused: it holds what has no canonical form here.
    """
    _check(value)
    text = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise BlueprintRefused("a text in it is no Unicode") from error


def loads(data: bytes) -> Any:
    """Read what may come from anybody.  It is canonical if ``dumps`` gives the same bytes again.

    Raises:
        BlueprintRefused: it is no JSON, or has a number with a fraction.
    """
    try:
        return json.loads(data, parse_float=_refuse, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise BlueprintRefused(f"it is no JSON that can be read: {str(error)[:160]}") from error


def _check(value: Any) -> None:
    if isinstance(value, dict):
        for one in value.values():
            _check(one)
    elif isinstance(value, list):
        for one in value:
            _check(one)
    elif isinstance(value, int):
        if abs(value) > _MOST:
            raise BlueprintRefused(f"the number {value} in it is beyond 2^53")
    elif not isinstance(value, str | None):
        raise BlueprintRefused(f"a {type(value).__name__} in it has no canonical form")


def _refuse(text: str) -> NoReturn:
    raise BlueprintRefused(f"the number {text[:40]} in it is no integer")
