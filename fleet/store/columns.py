"""Column types and ids that the tables share."""

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import BigInteger, DateTime, Dialect
from sqlalchemy.types import TypeDecorator
from sqlmodel import Field

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32, lowercase
_PAIRS = [first + second for first in _ALPHABET for second in _ALPHABET]


class UtcDateTime(TypeDecorator[datetime]):
    """A moment in UTC; SQLite, which has no zones, stores it as UTC without one."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuse a naive moment: whose local time it is cannot be known."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value!r} has no time zone")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Give every moment its zone back."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if dialect.name == "sqlite" else value.astimezone(UTC)


_numbers: Iterator[int] | None = None


def new_id(prefix: str) -> str:
    """Make an opaque id such as ``tr-01j9…``: 50 bits of time, then 50 of chance.

    Ids made later sort later, which keeps index pages together.
    """
    number = (time.time_ns() // 1_000_000) << 50 | secrets.randbits(50)
    if _numbers is not None:
        number = next(_numbers)
    return prefix + "-" + "".join([_PAIRS[number >> shift & 1023] for shift in range(90, -1, -10)])


@contextmanager
def ids_from(numbers: Iterator[int]) -> Iterator[None]:
    """Make ids of ``numbers`` meanwhile, so that a simulation can be repeated to the letter."""
    global _numbers  # noqa: PLW0603 - ids are made where no store is at hand
    before, _numbers = _numbers, numbers
    try:
        yield
    finally:
        _numbers = before


def identity(prefix: str) -> Any:
    """Declare the key of a table whose rows have ids of their own."""
    return Field(default_factory=lambda: new_id(prefix), primary_key=True)


def empty() -> list[Any]:
    """Make an empty list: of ``list`` itself pydantic would parse the signature for each row."""
    return []


def moment(**options: Any) -> Any:
    """Declare a column that holds a moment, nullable unless told otherwise."""
    return Field(sa_type=UtcDateTime, **{"default": None, **options})


def count(**options: Any) -> Any:
    """Declare a column of 64 bits, for bytes."""
    return Field(sa_type=BigInteger, **{"default": None, **options})
