"""How often a caller may ask, and the headers that tell it.

Documented at https://developers.zenodo.org/#rate-limiting, and in
https://inveniordm.docs.cern.ch/operate/ops/migrate/ (RATELIMIT_AUTHENTICATED_USER). Zenodo's
``invenio.cfg`` has since let guests ask more often; the lower number is kept.
"""

from collections import defaultdict
from collections.abc import Callable

MINUTE, HOUR = 60, 3600
Rule = tuple[int, int, str]
GUEST: tuple[Rule, ...] = ((60, MINUTE, "60 per 1 minute"), (2000, HOUR, "2000 per 1 hour"))
KNOWN: tuple[Rule, ...] = ((100, MINUTE, "100 per 1 minute"), (5000, HOUR, "5000 per 1 hour"))
SEARCH: tuple[Rule, ...] = ((30, MINUTE, "30 per 1 minute"),)


class Rates:
    """Fixed windows for each caller, as flask-limiter keeps them by default."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._asked: defaultdict[tuple[str, str, int], int] = defaultdict(int)

    def count(self, caller: str, rules: tuple[Rule, ...]) -> tuple[dict[str, str], str | None]:
        """Count a request; give the headers, and the rule that it breaks if any.

        The headers are those of the rule with the least left. A 429 says the rule as its message
        (observed: showyourwork/showyourwork#238) and has a Retry-After (facts of the project).
        """
        now = self._now()
        states = []
        for most, length, text in rules:
            window = int(now // length)
            self._asked[caller, text, window] += 1
            left = most - self._asked[caller, text, window]
            states.append((left, (window + 1) * length, most, text))
        left, reset, most, text = min(states)
        headers = {
            "X-RateLimit-Limit": str(most),
            "X-RateLimit-Remaining": str(max(0, left)),
            "X-RateLimit-Reset": str(reset),
        }
        if left >= 0:
            return headers, None
        return {**headers, "Retry-After": str(max(1, int(reset - now)))}, text
