"""The synthetic fleet: where its sites stand, whose they are, how fast and how dear."""

from dataclasses import dataclass, replace

from fleet.control.sites import BudgetSpec, SiteSpec, WindowSpec

SLOTS = 16

# town, country, region, zone: both hemispheres, so that clocks change both ways at once
_TOWNS = (
    ("toronto", "CA", "ca-on", "America/Toronto"),
    ("amsterdam", "NL", "eu-nl", "Europe/Amsterdam"),
    ("sydney", "AU", "au-nsw", "Australia/Sydney"),
    ("ashburn", "US", "us-va", "America/New_York"),
    ("frankfurt", "DE", "eu-de", "Europe/Berlin"),
    ("vancouver", "CA", "ca-bc", "America/Vancouver"),
    ("santiago", "CL", "cl-rm", "America/Santiago"),
    ("helsinki", "FI", "eu-fi", "Europe/Helsinki"),
    ("hillsboro", "US", "us-or", "America/Los_Angeles"),
    ("london", "GB", "gb-ldn", "Europe/London"),
    ("montreal", "CA", "ca-qc", "America/Toronto"),
    ("auckland", "NZ", "nz-akl", "Pacific/Auckland"),
)


@dataclass(frozen=True, slots=True)
class Provider:
    """Who runs sites: Mbit/s of each, and dollars a TB and month kept, and a TB sent.

    Sites that are ``read`` over HTTP are probed; from the others copies travel by torrent.
    """

    name: str
    mbps: int
    storage: float
    egress: float
    read: bool


# Round figures of 2025's public price lists: a rented server with drives, a cloud with dear
# egress, and a store that sends for nothing.
_PROVIDERS = (
    Provider("rented", 1000, 2.5, 1.0, read=False),
    Provider("cloud", 5000, 23.0, 85.0, read=False),
    Provider("flat", 2500, 15.0, 0.0, read=True),
)


@dataclass(frozen=True, slots=True)
class Place:
    """One site of the twin."""

    id: str
    town: int
    provider: str
    country: str
    region: str
    zone: str
    mbps: int
    storage: float
    egress: float
    read: bool

    @property
    def bytes_per_second(self) -> float:
        """What its line carries, in bytes."""
        return self.mbps * 1e6 / 8

    def spec(self, capacity: int, *, windows: bool, retired: bool = False) -> SiteSpec:
        """Declare it as its line in a sites file does; ``windows`` are its quiet hours."""
        quiet = (WindowSpec(timezone=self.zone, opens="00:00", closes="06:00"),)
        return SiteSpec(
            id=self.id,
            kind="node",
            driver="posix",
            region=self.region,
            country=self.country,
            jurisdiction=self.country,
            operator=self.provider,
            provider=self.provider,
            capacity=capacity,
            speed_mbps=self.mbps,
            trusted=True,
            read_url=f"https://{self.id}.twin.example" if self.read else "",
            peer=f"{self.id}.twin.example:6881",
            slots=SLOTS,
            windows=quiet if windows else (),
            budget=BudgetSpec(streams=4),
            retired=retired,
        )


def places(number: int) -> list[Place]:
    """Make ``number`` sites, shared out over the providers."""
    return [_place(_name(at), at, _PROVIDERS[at % len(_PROVIDERS)]) for at in range(number)]


def successor(place: Place, number: int, provider: str) -> Place:
    """Make the site that takes another's place, with a provider of the same kind."""
    kind = next(one for one in _PROVIDERS if place.provider.startswith(one.name))
    new = replace(kind, name=provider)
    return _place(f"{_name(place.town)}-r{number}", place.town, new)


def _name(at: int) -> str:
    again = at // len(_TOWNS)
    return _TOWNS[at % len(_TOWNS)][0] + (f"-{again + 1}" if again else "")


def _place(name: str, at: int, provider: Provider) -> Place:
    _, country, region, zone = _TOWNS[at % len(_TOWNS)]
    return Place(
        id=name,
        town=at,
        provider=provider.name,
        country=country,
        region=region,
        zone=zone,
        mbps=provider.mbps,
        storage=provider.storage,
        egress=provider.egress,
        read=provider.read,
    )
