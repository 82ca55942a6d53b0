"""Who asks the redirector: what is believed of a request, and of whom."""

from pathlib import Path
from typing import Any

import pytest

from fleet.control.errors import RefusedError
from fleet.settings import CentreSettings
from fleet.store.database import Store
from fleet.web.askers import Askers
from tests.api_support import three_sites
from tests.mmdb_support import write
from tests.redirect_support import redirecting

COUNTRIES = {"203.0.113.0/24": "CA", "198.51.100.0/24": "NL", "10.0.0.0/8": "US"}
PROXIES = "127.0.0.0/8, 10.0.0.0/8"
HEADER = "CF-IPCountry"


def _country(settings: dict[str, Any], client: str, **headers: str) -> str:
    """The country that a request is taken to come from."""
    scope = {
        "client": (client, 1),
        "headers": [
            (name.lower().replace("_", "-").encode(), said.encode())
            for name, said in headers.items()
        ],
    }
    return Askers(CentreSettings(**settings)).of(scope).country


def test_by_default_nothing_is_known_of_who_asks() -> None:
    assert _country({}, "127.0.0.1", cf_ipcountry="CA", x_forwarded_for="203.0.113.9") == ""


def test_a_trusted_proxy_is_believed_as_to_the_country_and_nobody_else() -> None:
    settings = {"trusted_proxies": PROXIES, "country_header": HEADER}
    assert _country(settings, "127.0.0.1", cf_ipcountry="ca") == "CA"
    assert _country(settings, "192.0.2.1", cf_ipcountry="CA") == ""
    for odd in ("", "C", "CAN", "C1", "é?", "C\0"):
        assert _country(settings, "127.0.0.1", cf_ipcountry=odd) == ""


def test_a_header_without_proxies_that_are_trusted_is_not_read() -> None:
    assert _country({"country_header": HEADER}, "127.0.0.1", cf_ipcountry="CA") == ""


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return write(tmp_path / "countries.mmdb", COUNTRIES)


def test_the_database_tells_the_country_of_who_asks(database: Path) -> None:
    settings = {"country_database": database}
    assert _country(settings, "203.0.113.77") == "CA"
    assert _country(settings, "192.0.2.1") == ""
    assert _country(settings, "2001:db8::1") == ""
    assert _country(settings, "unix") == ""
    assert _country(settings, "192.0.2.1", x_forwarded_for="203.0.113.9") == ""


def test_behind_proxies_who_asks_is_the_last_that_is_none(database: Path) -> None:
    settings = {"country_database": database, "trusted_proxies": PROXIES}

    def country(forwarded: str) -> str:
        return _country(settings, "127.0.0.1", x_forwarded_for=forwarded)

    assert country("203.0.113.9") == "CA"
    assert country("203.0.113.9, 198.51.100.4") == "NL"
    assert country("203.0.113.9, 198.51.100.4, 10.1.2.3, 127.0.0.7") == "NL"
    assert country("203.0.113.9, nonsense") == ""
    assert country("10.1.2.3") == ""
    assert country("") == ""


def test_what_a_proxy_says_of_the_country_comes_before_the_database(database: Path) -> None:
    settings = {
        "country_database": database,
        "trusted_proxies": PROXIES,
        "country_header": HEADER,
    }
    assert _country(settings, "127.0.0.1", cf_ipcountry="JP", x_forwarded_for="203.0.113.9") == "JP"
    assert _country(settings, "127.0.0.1", x_forwarded_for="203.0.113.9") == "CA"


def test_a_database_that_cannot_be_read_is_refused_by_its_name(tmp_path: Path) -> None:
    other = tmp_path / "other.mmdb"
    other.write_bytes(b"no database")
    for path in (other, tmp_path / "none.mmdb"):
        with pytest.raises(RefusedError, match=r"FLEET_COUNTRY_DATABASE .*\.mmdb cannot be read: "):
            Askers(CentreSettings(country_database=path))


def test_mirrors_answer_to_the_law_of_who_asks_or_to_the_one_that_is_set() -> None:
    settings = {"trusted_proxies": PROXIES, "country_header": HEADER}
    scope = {"client": ("127.0.0.1", 1), "headers": [(b"cf-ipcountry", b"NL")]}
    assert Askers(CentreSettings(**settings)).of(scope).jurisdictions == {"NL"}
    ours = CentreSettings(**settings, jurisdictions="CA, FR")
    assert Askers(ours).of(scope).jurisdictions == {"CA", "FR"}
    assert Askers(CentreSettings()).of(scope).jurisdictions == set()


def test_people_are_sent_to_a_mirror_near_them_and_caches_are_told_by_what(
    sqlite_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    centre = three_sites(sqlite_store, tmp_path)
    for site, country in (("toronto", "CA"), ("amsterdam", "NL"), ("netcup", "US")):
        centre.apply_sites(site, country=country)
    near = {"trusted_proxies": ("127.0.0.0/8",), "country_header": HEADER}
    settings = CentreSettings(lease_seconds=10, retry_seconds=5, max_attempts=3)
    centre.settings = CentreSettings(**settings.model_dump() | near)
    centre.mirror("a.csv")
    centre.prove()
    with redirecting(centre, monkeypatch) as api:
        found = {}
        for country in ("CA", "NL", "US", "DE"):
            answer = api.get("/d/data/latest/a.csv", {HEADER: country})
            assert answer.headers["vary"] == HEADER
            assert answer.headers["cache-control"].startswith("public")
            found[country] = answer.headers["location"].removeprefix("http://").partition(".")[0]
    assert found == {"CA": "toronto", "NL": "amsterdam", "US": "netcup", "DE": "amsterdam"}


def test_what_goes_by_addresses_is_not_kept_for_others(
    sqlite_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database: Path
) -> None:
    centre = three_sites(sqlite_store, tmp_path)
    centre.settings = centre.settings.model_copy(update={"country_database": database})
    centre.mirror("a.csv")
    centre.prove()
    with redirecting(centre, monkeypatch) as api:
        assert api.get("/d/data/latest/a.csv").headers["cache-control"] == "private, max-age=60"
