"""What goes wrong in a year: the standard fault mix, its rates and where they come from.

Rules this module keeps:

- Every rate has its source beside it; where nobody has published one it says that it is ours.
- A standard year is a hard one.  What is rarer than once a year happens once nevertheless: a
  policy that was never tried by the loss of a provider has not been tried.
- The same seed gives the same faults, whatever the policy.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from random import Random

from fleet.twin.places import Place

YEAR_DAYS = 365.0


class Kind(StrEnum):
    """What can happen to a site, or to all the sites of a provider at once."""

    OUTAGE = "site outage"
    PROVIDER_OUTAGE = "provider outage"
    LOSS = "site lost"
    PROVIDER_LOSS = "provider lost"
    LEAVE = "site leaves"


@dataclass(frozen=True, slots=True)
class Mix:
    """How often what goes wrong, by site, provider, TB or pull, and year."""

    # Ford et al., "Availability in Globally Distributed Storage Systems", OSDI 2010: a node is
    # away some ten times a year and mostly for minutes; those that outlast an operator's quick
    # reboot are about one a month here.
    outages: float = 12.0
    outage_hours: float = 1.0  # the median; one in forty lasts more than half a day
    # Gunawi et al., "Why Does the Cloud Stop Computing?", SoCC 2016: 597 outages of 32 services
    # in 7 years are 2.7 a year for each.
    provider_outages: float = 2.7
    provider_outage_hours: float = 3.0
    # Backblaze, "Drive Stats for 2024": 1.57 % of drives fail in a year.  A rented node of eight
    # drives without redundancy loses what it holds with any of them.
    losses: float = 8 * 0.0157
    # OVHcloud's Strasbourg halls burnt in March 2021, Korea's NIRS at Daejeon in September 2025,
    # and providers close accounts and shops.  The rate is ours.
    provider_losses: float = 0.03
    # Bairavasundaram et al., "An Analysis of Data Corruption in the Storage Stack", FAST 2008:
    # 0.86 % of nearline drives of at most 1 TB in 17 months; and "An Analysis of Latent Sector
    # Errors", SIGMETRICS 2007: 3.45 % of drives in 32 months.  Together 0.02 to 0.05 a TB and
    # year, where RAID and scrubbing were at work; CERN found 22 bad files in 8.7 TB (Panzer-
    # Steindel, "Data Integrity", 2007).  Rented nodes stand between.
    corruptions_per_tb: float = 0.5
    # Zenodo's and archive.org's answers of 429 and 503 to bulk pulls; the share is ours.
    throttled_pulls: float = 0.05
    # A sponsor's or volunteer's node goes with a month's notice; the rate is ours.
    leaves: float = 0.1
    notice_days: float = 30.0


STANDARD = Mix()


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """What happens when: ``at`` in seconds from the start, to a site or a provider."""

    at: float
    kind: Kind
    subject: str
    seconds: float = 0.0


def draw(mix: Mix, places: Sequence[Place], days: float, rng: Random) -> list[Fault]:
    """Draw the faults of ``days`` days, in the order they happen."""
    sites = [place.id for place in places]
    providers = [place.provider for place in places]  # a large one is the likelier for it
    share = days / YEAR_DAYS
    faults: list[Fault] = []

    def happen(kind: Kind, expected: float, subjects: Sequence[str], hours: float = 0.0) -> None:
        """Let ``kind`` happen; of what is rare, once in a whole year at the least."""
        number = max(poisson(expected, rng), round(share))
        for _ in range(number):
            seconds = rng.lognormvariate(math.log(hours * 3600), 1.25) if hours else 0.0
            # no loss in the last tenth: what it does would not be seen any more
            at = rng.uniform(0.0, days * 86400 * (1.0 if hours else 0.9))
            faults.append(Fault(at, kind, rng.choice(subjects), seconds))

    number = len(sites)
    happen(Kind.OUTAGE, mix.outages * number * share, sites, mix.outage_hours)
    happen(
        Kind.PROVIDER_OUTAGE,
        mix.provider_outages * len(set(providers)) * share,
        sorted(set(providers)),
        mix.provider_outage_hours,
    )
    happen(Kind.LOSS, mix.losses * number * share, sites)
    happen(Kind.PROVIDER_LOSS, mix.provider_losses * len(set(providers)) * share, providers)
    happen(Kind.LEAVE, mix.leaves * number * share, sites)
    return sorted(faults)


def poisson(expected: float, rng: Random) -> int:
    """Draw how often something happens that is ``expected`` so many times."""
    number, at = 0, rng.expovariate(1.0)
    while at < expected:
        number, at = number + 1, at + rng.expovariate(1.0)
    return number
