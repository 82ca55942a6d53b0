"""Who sent wrong bytes, and telling the centre of it, which then has that copy checked at once.

Rules this module keeps:

- What is told is which file of which site was wrong, and how; nothing of who asks.
- It never fails what it is about: a centre that is away, or will not hear it, is merely noted.
- A centre that checks enough of a site for now (429) is told no more of that one in this run.
"""

import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

import httpcore
import httpx

from fleet.catalogue.client.offer import File, Offer
from fleet.guard import ForbiddenAddressError, Guard, TooLateError
from fleet.settings import SiteSettings
from workers.pull.tally import Tally

MOST: Final = 20
"""Files that are told of in one run: one of each site first."""
SECONDS: Final = 10.0
MAX_WORDS: Final = 500
_REPORTS: Final = "/api/v1/reports"


@dataclass(frozen=True, slots=True)
class Lie:
    """A file that a site sent wrong bytes of."""

    site: str
    url: str
    path: str
    wrong: str


def lies_of(tallies: Iterable[Tally], offer: Offer, files: Iterable[File]) -> list[Lie]:
    """List the files that mirrors sent wrong bytes of."""
    told = {
        (tally.site, url): wrong
        for tally in tallies
        if tally.site is not None
        for url, wrong in tally.lies.items()
    }
    return [
        Lie(site, url, file.path, told[site, url])
        for file in (files if told else ())
        for site, url in offer.sources(file)
        if (site, url) in told
    ]


def tell(lies: Sequence[Lie], offer: Offer, settings: SiteSettings) -> str:
    """Tell the centre of them; say why it could not be told, or nothing."""
    if not offer.centre:
        return "the catalogue does not say where its centre is"
    first: dict[str, Lie] = {}
    for lie in lies:
        first.setdefault(lie.site, lie)
    ordered = [*first.values(), *(one for one in lies if first[one.site] is not one)]
    until = time.monotonic() + SECONDS
    guard = Guard(settings.allow_networks, until)
    tls = httpx.create_ssl_context(trust_env=False)
    try:
        with httpcore.ConnectionPool(ssl_context=tls, network_backend=guard) as pool:
            return _told_all(pool, ordered[:MOST], offer, settings.user_agent)
    except ForbiddenAddressError as error:
        return f"{error.host}: {error.why}"
    except TooLateError:
        return "it takes too long"
    except (OSError, httpcore.NetworkError, httpcore.ProtocolError, ValueError) as error:
        return str(error) or type(error).__name__
    except httpcore.TimeoutException:
        return f"no answer in {SECONDS:g} s"


def _told_all(pool: httpcore.ConnectionPool, lies: Iterable[Lie], offer: Offer, agent: str) -> str:
    """Tell of each; say why a site was not heard of, or nothing."""
    heard: set[str] = set()
    busy: set[str] = set()
    for lie in lies:
        if lie.site in busy:
            continue
        status = _told(pool, lie, offer, agent)
        if status == HTTPStatus.TOO_MANY_REQUESTS:
            busy.add(lie.site)
        elif 200 <= status < 300:
            heard.add(lie.site)
        else:
            return f"it answers {status}"
    unheard = ", ".join(sorted(busy - heard))
    return f"it has enough to check at {unheard} for now" if unheard else ""


def _told(pool: httpcore.ConnectionPool, lie: Lie, offer: Offer, agent: str) -> int:
    """Tell of one; return the status of the answer."""
    said = {
        "dataset": offer.dataset,
        "version": offer.label,
        "path": lie.path,
        "site": lie.site,
        "wrong": lie.wrong[:MAX_WORDS],
    }
    limits = dict.fromkeys(("connect", "read", "write", "pool"), SECONDS)
    answer = pool.request(
        "POST",
        f"{offer.centre}{_REPORTS}",
        headers={"Content-Type": "application/json", "User-Agent": agent},
        content=json.dumps(said).encode(),
        extensions={"timeout": limits},
    )
    return answer.status
