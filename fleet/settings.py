"""Every setting, in one place: environment variables that begin with ``FLEET_``.

``CentreSettings`` is for the processes of the centre, ``SiteSettings`` for those of one site.
Secrets come from the environment or from a file, never from the command line.
"""

from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from fleet import __version__

MIB = 1024 * 1024


def _networks(value: object) -> object:
    """Read ``127.0.0.0/8, ::1/128`` as a tuple of networks."""
    if isinstance(value, str):
        return tuple(ip_network(part.strip()) for part in value.split(",") if part.strip())
    return value


def _parts(value: object) -> object:
    """Read what stands between commas."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


def _announce_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https", "udp"} or not parts.hostname:
        raise ValueError(
            f"{url!r} is no tracker's announce URL: give http(s)://host:port/announce "
            "or udp://host:port/announce"
        )
    return url


def _peer(address: str) -> str:
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ValueError(f"{address!r} is no address: give host:port")
    return address


Trackers = Annotated[
    tuple[Annotated[str, AfterValidator(_announce_url)], ...], NoDecode, BeforeValidator(_parts)
]
Peers = Annotated[
    tuple[Annotated[str, AfterValidator(_peer)], ...], NoDecode, BeforeValidator(_parts)
]
Hosts = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_parts)]
Networks = Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode, BeforeValidator(_networks)]


class _Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="FLEET_", frozen=True, extra="ignore")

    home: Path = Field(
        default_factory=lambda: Path.home() / ".local" / "share" / "fleet",
        description="Folder for all that Fleet keeps on this machine.",
    )
    broker_url: str = Field("", description="Celery broker; empty: an embedded one below home.")
    centre_url: str = Field("http://127.0.0.1:8484", description="Where workers reach the centre.")
    contact: str = Field("", description="Contact named in the User-Agent, for mirrors' operators.")
    allow_networks: Networks = Field(
        (), description="Private networks that sources may lie in, such as 127.0.0.0/8."
    )

    @property
    def user_agent(self) -> str:
        """How the fleet names itself to mirrors' operators."""
        about = f"; {self.contact}" if self.contact else ""
        return f"DataFleet/{__version__} (open-data mirror{about})"


class CentreSettings(_Settings):
    """Settings of the server, the scheduler, the consumer and the admin's commands."""

    database_url: str = Field("", description="SQLAlchemy URL; empty: SQLite below home.")
    listen: str = Field("127.0.0.1:8484", description="Address of `fleet server`.")
    tracker: str = Field(
        "0.0.0.0:6969", description="Address that `fleet tracker` listens on, by TCP and UDP."
    )
    trackers: Trackers = Field(
        (), description="Announce URLs that torrents and magnets carry, the first asked first."
    )
    admin_token: SecretStr = Field(SecretStr(""), description="Bearer token of the admin API.")
    keys_file: Path | None = Field(
        None, description="File with the keys of sites that have no worker; read for each grant."
    )
    catalogue_root: Path | None = Field(
        None, description="Folder of the signed catalogue that mirrors copy; None: home/catalogue."
    )
    catalogue_keys_file: Path | None = Field(
        None, description="File with the keys that sign it; None: home/catalogue-keys.json."
    )
    import_root: Path | None = Field(
        None, description="Folder that the API and the queue may import from; None: home/imports."
    )
    zenodo_hosts: Hosts = Field(
        ("zenodo.org", "sandbox.zenodo.org"),
        description="Hosts whose record pages are imported as records; others run InvenioRDM too.",
    )
    archive_hosts: Hosts = Field(
        ("archive.org", "www.archive.org"),
        description="Hosts whose item pages are imported as items of the Internet Archive.",
    )
    s3_endpoint: str = Field(
        "", description="Where s3://BUCKET/PREFIX is read, as https://ENDPOINT/BUCKET/PREFIX."
    )
    lease_seconds: float = Field(60.0, gt=0, description="How long a claim lasts unrenewed.")
    tick_seconds: float = Field(1.0, gt=0, description="Pause between two scheduler ticks.")
    max_attempts: int = Field(6, ge=1, description="Failures before a transfer is suspended.")
    retry_seconds: float = Field(30.0, ge=0, description="First wait after a failure; it doubles.")
    alone_from: int = Field(
        64 * MIB, ge=1, description="An artifact of at least this size is a shard by itself."
    )
    bundle_bytes: int = Field(4096 * MIB, ge=1, description="Most bytes in one bundle.")
    bundle_files: int = Field(5000, ge=1, description="Most files in one bundle.")
    max_artifact_bytes: int = Field(
        5 * 1024 * 1024 * MIB, ge=1, description="A larger artifact is refused."
    )
    fixity_days: float = Field(
        90.0, gt=0, description="A copy unverified for longer stops counting."
    )
    grace_days: float = Field(
        14.0, ge=0, description="How long a copy that no rule needs is kept before it is dropped."
    )
    probe_seconds: float = Field(300.0, gt=0, description="Pause between two probes of a site.")
    trusted_proxies: Networks = Field(
        (), description="Networks of proxies before `fleet server`, believed as to who asks."
    )
    country_header: str = Field(
        "", description="Header in which those proxies name who asks' country, as CF-IPCountry."
    )
    country_database: Path | None = Field(
        None, description="Database in MaxMind's format that tells the country of an address."
    )
    jurisdictions: Hosts = Field(
        (), description="Whose law mirrors should answer to, as CA; empty: that of who asks."
    )

    @property
    def catalogue(self) -> Path:
        """Where the signed catalogue lies, with the default filled in."""
        return self.catalogue_root or self.home / "catalogue"

    @property
    def catalogue_keys(self) -> Path:
        """Where the keys that sign it are, with the default filled in."""
        return self.catalogue_keys_file or self.home / "catalogue-keys.json"

    @property
    def database(self) -> str:
        """The database's URL, with the default filled in."""
        return self.database_url or f"sqlite:///{self.home / 'fleet.db'}"


class SiteSettings(_Settings):
    """Settings of one site's worker and seeder."""

    site: str = Field(description="This site's id, as in the sites file.")
    site_token: SecretStr = Field(SecretStr(""), description="This site's token.")
    site_token_file: Path | None = Field(None, description="File that holds this site's token.")
    root: Path | None = Field(None, description="Where this site keeps its replicas.")
    bulk_slots: int = Field(2, ge=1, description="Pulls and verifies at once.")
    light_slots: int = Field(4, ge=1, description="Probes and nudges at once.")
    stall_seconds: float = Field(30.0, gt=0, description="A source silent for longer is dropped.")
    scratch_bytes: int = Field(
        8192 * MIB,
        ge=1,
        description="Most bytes staged at once for sites that have no worker, as buckets.",
    )
    full_disk_seconds: float = Field(
        60.0, ge=0, description="How long a pull waits for room on a full disk."
    )
    door: str = Field("", description="Address of the HTTP door for verified files; empty: none.")
    bittorrent: str = Field("0.0.0.0:6881", description="Address that the seeder listens on.")
    dht: bool = Field(
        False, description="Whether the seeder tells the DHT of its torrents, so of its site."
    )
    dht_nodes: Peers = Field(
        (), description="host:port of nodes that lead into the DHT; empty: libtorrent's own."
    )
    pex: bool = Field(True, description="Whether peers of a torrent are told of each other.")
    lsd: bool = Field(
        False, description="Whether the seeder tells its own network of its torrents by multicast."
    )
    seeds_seconds: float = Field(15.0, gt=0, description="Pause between two looks for seeds.")

    @property
    def store_root(self) -> Path:
        """Where this site's replicas lie, with the default filled in."""
        return self.root or self.home / "sites" / self.site / "data"

    @property
    def state(self) -> Path:
        """Where this site keeps its spool, torrents and socket."""
        return self.home / "sites" / self.site / "state"

    @property
    def pulled(self) -> Path:
        """Where this site's pulls write down what they have received."""
        return self.state / "pulled"

    @property
    def token(self) -> str:
        """The token that this site proves itself with.

        Raises:
            ValueError: neither the token nor its file is set, or the file is empty.
        """
        token = self.site_token.get_secret_value()
        if not token and self.site_token_file is not None:
            token = self.site_token_file.read_text(encoding="ascii").strip()
        if not token:
            raise ValueError(
                f"site {self.site} has no token: set FLEET_SITE_TOKEN_FILE to the file that "
                f"`fleet site token {self.site}` wrote"
            )
        return token
