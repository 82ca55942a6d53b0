"""Faults on demand, each one line of text.

::

    METHOD PATH [skip N] [times N] ACT

``METHOD`` may be ``*``.  In ``PATH`` a ``*`` stands for any characters; one with a ``?`` is held
against path and query as they came, any other against the decoded path.  The first ``skip``
requests that match are let pass, then ``times`` of them (one by default) meet with the act:

========================================  ==========================================================
``refuse STATUS [Name=value …] [TEXT]``   answer this, without the effect
``mask STATUS [Name=value …] [TEXT]``     have the effect, then answer this in its place
``drop [BYTES]``                          reset before the effect; once so much of the body came
``lose``                                  have the effect, then reset without an answer
``cut BYTES``                             close after so much of the answer's body
``stall``                                 take the request and neither act nor answer
``damage``                                turn a byte of the request's body over, then go on
========================================  ==========================================================

``PUT /bucket/* skip 2 times 3 refuse 503 Retry-After=1 'busy, come back'`` lets two through.
"""

import re
import shlex
import threading
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from fleet.rehearsal.exchange import Answer, Asked

ANSWERING = ("refuse", "mask")
COUNTING = ("drop", "cut")
ACTS = (*ANSWERING, *COUNTING, "lose", "stall", "damage")
HEADER = re.compile(r"([A-Za-z][A-Za-z0-9-]*)=(.*)")


@dataclass(frozen=True)
class Fault:
    """One line of the script."""

    line: str
    method: str
    path: str
    act: str
    skip: int = 0
    times: int = 1
    count: int = 0
    answer: Answer | None = None

    def meets(self, asked: Asked) -> bool:
        """Whether it is about this request."""
        parts = urlsplit(asked.target)
        subject = f"{parts.path}?{parts.query}" if "?" in self.path else asked.path
        pattern = ".*".join(re.escape(word) for word in self.path.split("*"))
        return self.method in {"*", asked.method} and re.fullmatch(pattern, subject) is not None


def parse(line: str) -> Fault:
    """Read one line; ValueError says what is wrong with it."""
    words = shlex.split(line)
    if len(words) < 3:
        raise ValueError(f"{line!r} is no fault: METHOD PATH [skip N] [times N] ACT")
    method, path, *rest = words
    numbers = {"skip": 0, "times": 1}
    while len(rest) > 1 and rest[0] in numbers:
        numbers[rest[0]] = _number(line, rest[1])
        rest = rest[2:]
    act, *given = rest or ("nothing",)
    if act not in ACTS:
        raise ValueError(f"{line!r}: {act} is no act; there are {', '.join(ACTS)}")
    answer = _answer(line, given) if act in ANSWERING else None
    count = _number(line, given[0]) if act in COUNTING and given else 0
    if len(given) > (act in COUNTING) and answer is None:
        raise ValueError(f"{line!r}: {act} takes no {given[-1]}")
    if act == "cut" and not given:
        raise ValueError(f"{line!r}: cut needs a number of bytes")
    return Fault(line, method, path, act, numbers["skip"], numbers["times"], count, answer)


def _answer(line: str, given: list[str]) -> Answer:
    status, *words = given or ("nothing",)
    headers: dict[str, str | None] = {}
    while words and (found := HEADER.fullmatch(words[0])):
        headers[found[1]] = found[2]
        words = words[1:]
    return Answer(_number(line, status), headers, " ".join(words).encode())


def _number(line: str, word: str) -> int:
    if not word.isdecimal():
        raise ValueError(f"{line!r}: {word} stands where a number should")
    return int(word)


@dataclass
class Script:
    """The faults still to come, in order, and the lines of those that came."""

    used: list[str] = field(default_factory=list)
    _left: list[tuple[Fault, list[int]]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, *lines: str) -> None:
        """Append faults to the script."""
        faults = [parse(line) for line in lines]
        with self._lock:
            self._left += [(fault, [fault.skip, fault.times]) for fault in faults]

    def clear(self) -> None:
        """Let nothing more go wrong."""
        with self._lock:
            self._left = []

    def meet(self, asked: Asked) -> Fault | None:
        """Give the first fault whose turn this request is, and count it for those that wait."""
        with self._lock:
            for fault, left in self._left:
                if not fault.meets(asked) or left == [0, 0]:
                    continue
                if left[0]:
                    left[0] -= 1
                    continue
                left[1] -= 1
                self.used.append(fault.line)
                return fault
        return None
