"""Zenodo as a local server: tokens, rates and routes around the state machine.

It misbehaves as the real one was seen to once its script has lines of ``troubles``.
"""

from collections.abc import Callable
from contextlib import nullcontext
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path

from fleet.rehearsal.exchange import Answer, Asked
from fleet.rehearsal.service import Service
from fleet.rehearsal.zenodo import rates, reading, writing
from fleet.rehearsal.zenodo.call import Call, said
from fleet.rehearsal.zenodo.files import Files
from fleet.rehearsal.zenodo.records import Records
from fleet.rehearsal.zenodo.reviews import Reviews
from fleet.rehearsal.zenodo.state import Limits, Refused, Switches

TOKEN = "rehearsal"  # noqa: S105 - it opens nothing but a rehearsal
# Observed: zenodo_401.json.
UNAUTHORIZED = (
    "The server could not verify that you are authorized to access the URL requested. You either "
    "supplied the wrong credentials (e.g. a bad password), or your browser doesn't understand how "
    "to supply the credentials required."
)
# Observed: eblondel/zen4R#140.
NO_URL = (
    "The requested URL was not found on the server. If you entered the URL manually please check "
    "your spelling and try again."
)
NO_METHOD = "The method is not allowed for the requested URL."
Handler = Callable[[Call], Answer]
ROUTES: list[tuple[str, tuple[str, ...], Handler]] = [
    (method, tuple(path.split("/")), handler)
    for (method, path), handler in (reading.ROUTES | writing.ROUTES).items()
]


class Zenodo(Service):
    """The server; ``records``, ``files`` and ``reviews`` are its state, for a test to read.

    ``tokens`` gives the user, a number, of each token.
    """

    def __init__(
        self,
        folder: Path,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        tokens: dict[str, str] | None = None,
        limits: Limits | None = None,
        switches: Switches | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        super().__init__(folder, host, port)
        self.tokens = tokens or {TOKEN: "1"}
        self.records = Records(limits, switches, now)
        self.files = Files(self.records)
        self.reviews = Reviews(self.records)
        self._rates = rates.Rates(lambda: now().timestamp())

    def answer(self, asked: Asked) -> Answer:
        """Have the request's effect; say what it is, or why it has none."""
        headers: dict[str, str] = {}
        try:
            caller = self._caller(asked)
            handler, names = _route(asked)
            headers = self._counted(caller, handler)
            state = (self.records, self.files, self.reviews)
            locked = nullcontext() if handler in writing.UNLOCKED else self.records.lock
            with locked:
                answer = handler(Call(self.url, *state, asked, caller, names))
        except Refused as refused:
            answer = said(refused.status, refused.body(), **refused.headers)
        date = format_datetime(self.records.now(), usegmt=True)  # of the clock that resets rates
        return Answer(answer.status, {"Date": date, **headers, **answer.headers}, answer.body)

    def _caller(self, asked: Asked) -> str | None:
        """Tell whose token it is, in the header or the query (documented: rest_api_index)."""
        kind, _, token = asked.headers.get("authorization", "").partition(" ")
        given = token if kind.lower() == "bearer" else asked.param("access_token")
        if given is None:
            return None
        if given not in self.tokens:
            raise Refused(401, UNAUTHORIZED)
        return self.tokens[given]

    def _counted(self, caller: str | None, handler: Handler) -> dict[str, str]:
        rules = rates.KNOWN if caller else rates.GUEST
        if handler in reading.SEARCHES:
            rules = rates.SEARCH
        with self.lock:
            headers, broken = self._rates.count(caller or "guest", rules)
        if broken and self.records.switches.rates:
            raise Refused(429, broken, headers=headers)
        headers.pop("Retry-After", None)
        return headers


def _route(asked: Asked) -> tuple[Handler, dict[str, str]]:
    method = "GET" if asked.method == "HEAD" else asked.method
    found = False
    for allowed, pattern, handler in ROUTES:
        names = _names(pattern, asked.segments)
        if names is not None and allowed == method:
            return handler, names
        found = found or names is not None
    raise Refused(405, NO_METHOD) if found else Refused(404, NO_URL)


def _names(pattern: tuple[str, ...], segments: tuple[str, ...]) -> dict[str, str] | None:
    """Match a path; a segment with a colon stands for any."""
    if len(pattern) != len(segments):
        return None
    names = {}
    for word, segment in zip(pattern, segments, strict=True):
        if word.startswith(":"):
            names[word[1:]] = segment
        elif word != segment:
            return None
    return names
