"""Bencoding (BEP 3): strict to read, canonical to write.

Rules this module keeps:

- What ``decode`` accepts, ``encode`` gives back byte for byte.  So the bytes of a decoded ``info``
  dictionary are exactly those its infohash was taken over, and no span needs to be remembered.
- Input is hostile: its length, depth, number of values and integers are bounded before anything
  is built from them.
"""

from typing import Final, TypeAlias

Bencoded: TypeAlias = int | bytes | list["Bencoded"] | dict[bytes, "Bencoded"]

MAX_BYTES: Final = 64 * 1024 * 1024
MAX_DEPTH: Final = 32
MAX_VALUES: Final = 2_000_000
INTEGER_LIMIT: Final = 1 << 63

_DIGITS: Final = frozenset(b"0123456789")
_LONGEST_INTEGER: Final = len(str(-INTEGER_LIMIT))
_LONGEST_LENGTH: Final = len(str(MAX_BYTES))


class BencodeError(ValueError):
    """The input is not canonical bencoding within bounds; the message says where and why."""


def encode(value: Bencoded) -> bytes:
    """Encode a value canonically: keys sorted by their bytes.

    Raises:
        BencodeError: the value holds something that bencoding has no form for, such as text, a
            float or an integer beyond 64 bits.
    """
    out: list[bytes] = []
    _write(value, out)
    return b"".join(out)


def decode(data: bytes, *, max_bytes: int = MAX_BYTES) -> Bencoded:
    """Decode one canonical value that fills ``data`` to its last byte.

    Args:
        data: the encoded value.
        max_bytes: longer input is refused unread.

    Raises:
        BencodeError: the input is malformed, not canonical, or beyond a bound.
    """
    if len(data) > max_bytes:
        raise BencodeError(f"{len(data)} bytes of bencoding are more than the {max_bytes} allowed")
    reader = _Reader(data)
    value = reader.value(0)
    if reader.at != len(data):
        raise BencodeError(f"{len(data) - reader.at} bytes follow the end at byte {reader.at}")
    return value


def _write(value: Bencoded, out: list[bytes]) -> None:
    # bool is an int to Python; no torrent means it
    if isinstance(value, int) and not isinstance(value, bool):
        if not -INTEGER_LIMIT <= value < INTEGER_LIMIT:
            raise BencodeError(f"the integer {value} does not fit in 64 bits")
        out.append(b"i%de" % value)
    elif isinstance(value, bytes):
        out += (b"%d:" % len(value), value)
    elif isinstance(value, list):
        out.append(b"l")
        for item in value:
            _write(item, out)
        out.append(b"e")
    elif isinstance(value, dict) and all(isinstance(key, bytes) for key in value):
        out.append(b"d")
        for key in sorted(value):
            _write(key, out)
            _write(value[key], out)
        out.append(b"e")
    else:
        raise BencodeError(f"bencoding has no form for {type(value).__name__}")


class _Reader:
    """A cursor over the input, and what its bounds still allow."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0
        self.values = 0

    def value(self, depth: int) -> Bencoded:
        """Read the value that begins here."""
        self.values += 1
        if self.values > MAX_VALUES:
            raise self.error(f"more than {MAX_VALUES} values")
        if depth > MAX_DEPTH:
            raise self.error(f"nested deeper than {MAX_DEPTH}")
        head = self.data[self.at : self.at + 1]
        if head == b"i":
            return self.integer()
        if head == b"l":
            return self.list(depth + 1)
        if head == b"d":
            return self.dict(depth + 1)
        return self.string()

    def integer(self) -> int:
        """Read ``i<digits>e``: no leading zero, no minus zero, 64 bits."""
        number = self._number(self.at + 1, b"e", _LONGEST_INTEGER, signed=True)
        if not -INTEGER_LIMIT <= number < INTEGER_LIMIT:
            raise self.error(f"the integer {number} does not fit in 64 bits")
        return number

    def string(self) -> bytes:
        """Read ``<length>:<bytes>``."""
        length = self._number(self.at, b":", _LONGEST_LENGTH, signed=False)
        text = self.data[self.at : self.at + length]
        if len(text) != length:
            raise self.error(f"a string of {length} bytes is cut short after {len(text)}")
        self.at += length
        return text

    def list(self, depth: int) -> "list[Bencoded]":
        """Read ``l<values>e``."""
        self.at += 1
        items: list[Bencoded] = []
        while not self._end():
            items.append(self.value(depth))
        return items

    def dict(self, depth: int) -> "dict[bytes, Bencoded]":
        """Read ``d<key><value>…e``: keys are strings, unique and in order."""
        self.at += 1
        entries: dict[bytes, Bencoded] = {}
        last: bytes | None = None
        while not self._end():
            key = self.string()
            if last is not None and key <= last:
                raise self.error(f"the key {key[:40]!r} is repeated or out of order")
            entries[key] = self.value(depth)
            last = key
        return entries

    def error(self, what: str) -> BencodeError:
        """Make an error that names the place it was found at."""
        return BencodeError(f"bencoding is wrong near byte {self.at}: {what}")

    def _end(self) -> bool:
        found = self.data[self.at : self.at + 1] == b"e"
        self.at += found
        return found

    def _number(self, start: int, end: bytes, longest: int, *, signed: bool) -> int:
        """Read the decimal from ``start`` up to ``end`` and step past it."""
        stop = self.data.find(end, start, start + longest + 1)
        digits = self.data[start:stop] if stop >= 0 else b""
        unsigned = digits[1:] if signed and digits[:1] == b"-" else digits
        if not unsigned or not _DIGITS.issuperset(unsigned):
            raise self.error("expected an integer, string, list or dictionary")
        if (unsigned[:1] == b"0" and len(unsigned) > 1) or digits == b"-0":
            raise self.error(f"the number {digits.decode()} is not in its shortest form")
        self.at = stop + 1
        return int(digits)
