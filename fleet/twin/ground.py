"""What truly stands at the twin's places: which sites are there, away or gone, and who came next.

Rules this module keeps:

- A fault is drawn for a place or a provider, not for whoever was there first: it meets whoever
  stands in that place at its moment, so that successors fail as often as those before them.
- An outage lasts until the latest end of those that overlap.  What is lost never comes back.
- The end of a provider takes all its sites, also those that are about to leave; who comes in their
  place is with another.
"""

from datetime import datetime
from itertools import count

from fleet.twin.hands import Hands, Time
from fleet.twin.places import Place, successor
from fleet.twin.truth import Truth


class Ground:
    """All sites that there are, and were."""

    def __init__(self, hands: Hands, truth: Truth, time: Time) -> None:
        """Begin with none; ``hands`` are their workers, ``truth`` knows what lies there."""
        self._hands, self._truth, self._time = hands, truth, time
        self.lost: dict[str, datetime] = {}  # since when; until somebody sees to it
        self._here: set[str] = set()
        self._heirs: dict[str, str] = {}  # of sites, and of providers
        self._ends: dict[str, float] = {}  # of outages
        self._number = count(2)

    def join(self, place: Place) -> None:
        """Have a site begin."""
        self._truth.places[place.id] = place
        self._here.add(place.id)

    def heirs(self, sites: list[str]) -> list[Place]:
        """Make the sites that come in others' places; one that has an heir needs no other."""
        number = next(self._number)
        made = []
        for site in sites:
            if site not in self._heirs:
                place = self._truth.places[site]
                provider = self._heirs.get(place.provider, place.provider)
                made.append(successor(place, number, provider))
                self._heirs[site] = made[-1].id
        return made

    def met(self, subject: str) -> list[str]:
        """Name the sites that what happens to a site or a provider meets now."""
        while True:
            here = [
                one
                for one, place in self._truth.places.items()
                if one in self._here and subject in (one, place.provider)
            ]
            if here or subject not in self._heirs:
                return here
            subject = self._heirs[subject]

    def is_here(self, site: str) -> bool:
        """Whether a site is there, if only away."""
        return site in self._here

    def away(self, site: str, seconds: float) -> None:
        """Let a site be away for so long, at the least."""
        ends = self._time.now.timestamp() + seconds
        if ends <= self._ends.get(site, 0.0):
            return
        self._ends[site] = ends
        self._hands.stop(site)

        def back() -> None:
            if site in self._here and self._ends[site] == ends:
                self._hands.start(site)

        self._time.after(seconds, back)

    def lose(self, site: str) -> None:
        """Lose a site and all that it holds; nobody tells the centre."""
        self._here.discard(site)
        self._hands.stop(site)
        self._hands.wipe(site)
        self._truth.lose_site(site, self._time.now)
        self.lost[site] = self._time.now

    def lose_provider(self, sites: list[str]) -> None:
        """Lose all sites of a provider at once."""
        provider = self._truth.places[sites[0]].provider
        self._heirs[provider] = f"{provider.partition('-')[0]}-{next(self._number)}"
        for site in sites:
            self.lose(site)
