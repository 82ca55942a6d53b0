"""Providers that others run, whose patience is shared by all sites of the fleet.

Rules this module keeps:

- A provider is known by the names of its hosts: ``zenodo.org`` is that host, ``*.archive.org`` any
  below it.  Of several that name a host the one with the longest pattern counts.
- Figures that a provider publishes are its own; where it publishes none, ours are restraint.  The
  source of each stands beside it.  A sites file may say otherwise for any of them.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class ProviderFacts:
    """What all workers together may ask of a provider; None is no limit.

    Attributes:
        name: what people call it.
        hosts: the patterns of its hosts' names.
        requests_per_minute: requests in any minute.
        bytes_per_5_minutes: bytes in any five minutes.
        streams: answers that are read at once, and so the attempts that share it.
        weight: how gladly it is asked beside sources as fast: 1 as any, less to spare it.
        source: where the figures come from.
    """

    name: str
    hosts: tuple[str, ...]
    requests_per_minute: int | None = None
    bytes_per_5_minutes: int | None = None
    streams: int = 8
    weight: float = 1.0
    source: str = ""


DEFAULTS: tuple[ProviderFacts, ...] = (
    # https://developers.zenodo.org/#rate-limiting: guests have 60 requests a minute and 2,000 an
    # hour, so 33 a minute for hours; files count as requests do, a range like a whole file.  It
    # publishes no limit of streams.
    ProviderFacts(
        "zenodo",
        ("zenodo.org", "*.zenodo.org"),
        requests_per_minute=33,
        streams=2,
        weight=0.5,
        source="guests: 60 requests a minute, 2,000 an hour; streams: restraint",
    ),
    # https://archive.org/developers/ias3.html: writes are refused (503 SlowDown) when its queues
    # are full.  30 GB in 5 minutes is what our users found it to bear; of reads it publishes none.
    ProviderFacts(
        "archive.org",
        ("archive.org", "*.archive.org"),
        requests_per_minute=120,
        bytes_per_5_minutes=30 * 10**9,
        streams=4,
        weight=0.5,
        source="30 GB in 5 minutes; requests and streams: restraint",
    ),
    # None published was found.  Its proxy is given to the public for nothing.
    ProviderFacts(
        "source.coop",
        ("source.coop", "*.source.coop"),
        requests_per_minute=600,
        bytes_per_5_minutes=60 * 10**9,
        streams=8,
        source="none published: restraint",
    ),
    # https://developers.cloudflare.com/r2/platform/limits/: reads by the S3 API or a domain of
    # one's own have no limit; r2.dev answers 429 beyond "hundreds of requests" a second, and its
    # bandwidth may be throttled.  We stay at a tenth of that.
    ProviderFacts(
        "r2",
        ("*.r2.dev", "*.r2.cloudflarestorage.com"),
        requests_per_minute=1200,
        streams=16,
        source="r2.dev: 429 beyond hundreds of requests a second; ours: a tenth",
    ),
)


def named(host: str, providers: Iterable[ProviderFacts]) -> ProviderFacts | None:
    """Find the provider that a host, with or without its port, belongs to."""
    fit = [(len(pattern), one) for one in providers for pattern in one.hosts if fits(host, pattern)]
    return max(fit, key=lambda pair: (pair[0], pair[1].name))[1] if fit else None


def fits(host: str, pattern: str) -> bool:
    """Whether a host is one that a pattern names; a pattern with a port names that port only."""
    host, pattern = host.lower(), pattern.lower()
    if ":" not in pattern:
        host = host.partition(":")[0]
    return host.endswith(pattern[1:]) if pattern.startswith("*.") else host == pattern


def host_of(url: str) -> str:
    """Return the part of a URL that reports name a host by: with a port that is not the usual."""
    parts = urlsplit(url)
    usual = {"http": 80, "https": 443}.get(parts.scheme)
    port = f":{parts.port}" if parts.port not in (None, usual) else ""
    return f"{parts.hostname or ''}{port}"
