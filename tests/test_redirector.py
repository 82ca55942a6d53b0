"""The redirector over HTTP: where it sends whom, what it says beside, and what it refuses."""

import base64
import hashlib
import json
import re
import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote, urlsplit
from xml.etree import ElementTree as ET

import httpx
import pytest
from sqlmodel import select

from fleet.control import snapshot
from fleet.settings import CentreSettings
from fleet.store.database import Store
from fleet.store.tables import Dataset, DatasetAlias, Replica, Version
from fleet.torrent.parsed import parse
from tests.api_support import Api, serving, three_sites
from tests.centre_support import Centre, content
from tests.databases import Databases, lacking
from tests.holdings_support import doubt
from tests.redirect_support import PAGE, label_of, links, redirecting, shard_of, until

SITES = {"toronto", "amsterdam", "netcup"}
HOUR = timedelta(hours=1)
DOI = "10.5281/zenodo.19220388"
CONCEPT = "10.5281/zenodo.19220387"


@pytest.fixture
def centre(sqlite_store: Store, tmp_path: Path) -> Centre:
    made = three_sites(sqlite_store, tmp_path)
    made.apply_sites("toronto", country="CA")
    made.apply_sites("amsterdam", country="NL")
    return made


@pytest.fixture
def api(centre: Centre, monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    """A served centre whose sites have two files and were seen to serve them."""
    centre.mirror("a.csv", "%C3%A9%20b.csv")
    centre.prove()
    with redirecting(centre, monkeypatch) as one:
        yield one


def _shard(centre: Centre) -> str:
    with centre.store.read() as session:
        return shard_of(session).id


def test_a_file_is_had_from_a_mirror_and_the_others_are_named(api: Api) -> None:
    label = label_of(api.centre)
    answer = api.get(f"/d/data/{label}/%C3%A9%20b.csv")
    assert (answer.status_code, answer.content) == (307, b"")
    path = f"data/{label}/%C3%A9%20b.csv"
    urls = {f"http://{site}.example/{path}" for site in SITES}
    assert set(links(answer, "duplicate")) == urls
    assert answer.headers["location"] == links(answer, "duplicate")[0]
    assert [int(one) for one in re.findall(r"pri=(\d)", answer.headers["link"])] == [1, 2, 3]
    assert sorted(re.findall(r"geo=(\w+)", answer.headers["link"])) == ["ca", "nl"]
    described = [f"/d/{path}.torrent", f"/d/{path}.meta4"]
    assert links(answer, "describedby") == described


def test_a_redirect_names_the_digest_of_the_file_in_both_ways(api: Api) -> None:
    answer = api.get(f"/d/data/{label_of(api.centre)}/a.csv")
    digest = base64.b64encode(hashlib.sha256(content("a.csv")).digest()).decode()
    assert answer.headers["digest"] == f"sha-256={digest}"
    assert answer.headers["repr-digest"] == f"sha-256=:{digest}:"


def test_the_latest_is_kept_for_less_long_and_a_doi_is_named(api: Api) -> None:
    label = label_of(api.centre)
    fixed, latest = api.get(f"/d/data/{label}/a.csv"), api.get("/d/data/latest/a.csv")
    assert fixed.headers["location"] == latest.headers["location"]
    assert fixed.headers["cache-control"] == "public, max-age=300"
    assert latest.headers["cache-control"] == "public, max-age=60"
    assert "set-cookie" not in fixed.headers
    assert links(fixed, "cite-as") == []
    assert links(fixed, "collection") == [f"/datasets/data/versions/{label}"]
    with api.centre.store.write() as session:
        session.exec(select(Version)).one().doi = DOI
    until(lambda: links(api.get("/d/data/latest/a.csv"), "cite-as") == [f"https://doi.org/{DOI}"])
    with api.centre.store.write() as session:
        session.get_one(Dataset, "data").doi = CONCEPT
    whole = [f"https://doi.org/{CONCEPT}"]
    until(lambda: links(api.get("/d/data/latest/a.csv"), "cite-as") == whole)
    assert links(api.get(f"/d/data/{label}/a.csv"), "cite-as") == [f"https://doi.org/{DOI}"]


def test_head_is_answered_as_get_and_ranges_and_conditions_are_the_mirrors_to_heed(
    api: Api,
) -> None:
    path = "/d/data/latest/a.csv"
    plain = api.get(path)
    tag = {"If-None-Match": "*", "Range": "bytes=5-9", "If-Modified-Since": "Fri, 01 Jan 2100"}
    for other in (api.client.head(path), api.get(path, tag)):
        assert other.status_code == 307
        assert {**other.headers, "date": ""} == {**plain.headers, "date": ""}


def test_a_page_of_another_host_may_read_through_it(api: Api) -> None:
    answer = api.get("/d/data/latest/a.csv", {"Origin": "https://map.example"})
    assert answer.headers["access-control-allow-origin"] == "*"
    assert {"Link", "Digest"} <= set(answer.headers["access-control-expose-headers"].split(", "))
    asked = {"Origin": "https://map.example", "Access-Control-Request-Method": "GET"}
    asked |= {"Access-Control-Request-Headers": "range"}
    allowed = api.client.request("OPTIONS", "/d/data/latest/a.csv", headers=asked)
    assert allowed.status_code == 204
    assert "Range" in allowed.headers["access-control-allow-headers"]
    assert "GET" in allowed.headers["access-control-allow-methods"]
    refused = api.client.post("/d/data/latest/a.csv")
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD, OPTIONS")


def test_a_copy_in_doubt_is_named_no_more_and_why_is_shown(api: Api) -> None:
    doubt(api.centre, "toronto", [_shard(api.centre)], "netcup got wrong bytes of it")
    path = "/d/data/latest/a.csv"
    until(lambda: len(links(api.get(path), "duplicate")) == 2)
    assert "toronto" not in api.get(path).headers["link"]
    shown = api.get(f"{path}?mirrors").json()
    assert {one["site"] for one in shown["used"]} == SITES - {"toronto"}
    assert [(one["site"], one["url"], one["reason"]) for one in shown["unused"]] == [
        ("toronto", "", "it is suspect")
    ]


def test_without_a_verified_mirror_it_says_so_and_when_to_ask_again(api: Api) -> None:
    for site in SITES:
        doubt(api.centre, site, [_shard(api.centre)])
    path = "/d/data/latest/a.csv"
    until(lambda: api.get(path).status_code == 503)
    for suffix in ("", ".meta4"):
        answer = api.get(path + suffix)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "60")
        assert answer.headers["cache-control"] == "no-store"
        assert "No mirror holds a verified copy of a.csv" in answer.json()["detail"]
        assert sorted(answer.json()["reasons"]) == [
            f"{one}: it is suspect" for one in sorted(SITES)
        ]
    assert "<li>toronto: it is suspect</li>" in api.get(path, PAGE).text


NOT_THERE = {
    "/d/none/1/a.csv": "There is no dataset called “none”.",
    "/d/data/none/a.csv": "The dataset data has no published version “none”.",
    "/d/data/latest/none.csv": "has no file “none.csv”.",
    "/d/data/latest/": "has no file “”.",
    "/d/data/latest/none.csv.meta4": "has no file “none.csv”.",
    "/processed/none.csv": "No dataset’s latest version has a file called “none.csv”.",
}


def test_what_is_not_there_is_said_in_plain_words(api: Api) -> None:
    for path, words in NOT_THERE.items():
        answer = api.get(path)
        assert answer.status_code == 404, path
        assert words in answer.json()["detail"]
        page = api.get(path, PAGE | {"Accept-Language": "fr-CA, en;q=0.5"})
        assert page.status_code == 404, path
        assert 'lang="fr-CA"' in page.text
        assert "Introuvable ici" in page.text


HOSTILE = [
    "/d/data/latest/../../../etc/passwd",
    "/d/data/latest/%2e%2e/%2e%2e/etc/passwd",
    "/d/data/latest/a.csv%00",
    "/d/data/latest/a.csv%0d%0aSet-Cookie:%20x=1",
    "/d/data%0d%0aSet-Cookie:%20x=1/latest/a.csv",
    "/d/data/latest%0d%0aLocation:%20http:%2f%2fevil.example/a.csv",
    "/d/%ff%fe/latest/a.csv",
    "/d//latest/a.csv",
    "/d/data/latest//a.csv",
    "/d/data/latest/%3Cscript%3Ealert(1)%3C/script%3E",
    "/d/data/latest/" + "a" * 30_000,
    "/processed/%2e%2e%2fa.csv",
    "/processed/http:%2f%2fevil.example",
    "/d/before/latest/%0d%0aX:%20y",
    "/d/before//evil.example/a.csv",
]


def test_hostile_paths_lead_nowhere(api: Api) -> None:
    with api.centre.store.write() as session:
        session.add(DatasetAlias(alias="before", dataset_id="data"))
    until(lambda: api.get("/d/before/latest/a.csv").status_code == 301)
    for path in HOSTILE:
        head, body = _raw(api, path)
        assert re.match(r"HTTP/1.1 (301|404) ", head), path
        names = [line.partition(":")[0].lower() for line in head.splitlines()[1:]]
        assert not {"set-cookie", "x"} & set(names), path
        assert len(body) < 5000, path
        assert "<script>alert" not in body, path
        if "location" in names:
            assert re.search(r"^location: /d/data/", head, re.IGNORECASE | re.MULTILINE), path


def _raw(api: Api, path: str) -> tuple[str, str]:
    """Ask for a path as it stands: no client's library mends it."""
    parts = urlsplit(api.url)
    with socket.create_connection((parts.hostname, parts.port), 20) as connection:
        lines = [f"GET {path} HTTP/1.1", "Host: here", "Accept: text/html", "Connection: close"]
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        answer = b"".join(iter(lambda: connection.recv(1 << 16), b""))
    head, _, body = answer.decode().partition("\r\n\r\n")
    return head, body


def test_an_old_name_leads_to_the_new_one_for_good(api: Api) -> None:
    with api.centre.store.write() as session:
        session.add(DatasetAlias(alias="red-deer", dataset_id="data"))
    path = "/d/red-deer/latest/%C3%A9%20b.csv"
    until(lambda: api.get(path).status_code == 301)
    assert api.get(path).headers["location"] == "/d/data/latest/%C3%A9%20b.csv"
    assert api.get(f"{path}?mirrors").headers["location"].endswith("b.csv?mirrors")
    assert api.client.get(path, follow_redirects=False).headers["cache-control"] == (
        "public, max-age=3600"
    )


def test_a_withdrawn_version_is_gone(api: Api) -> None:
    label = label_of(api.centre)
    with api.centre.store.write() as session:
        session.exec(select(Version)).one().state = "withdrawn"
    until(lambda: api.get(f"/d/data/{label}/a.csv").status_code == 410)
    assert "was withdrawn" in api.get(f"/d/data/{label}/a.csv").json()["detail"]
    assert api.get("/d/data/latest/a.csv").status_code == 404


def test_a_bare_name_leads_to_the_file_of_the_latest_version(api: Api) -> None:
    answer = api.get("/processed/a.csv")
    assert answer.headers["location"] == api.get("/d/data/latest/a.csv").headers["location"]
    assert answer.headers["cache-control"] == "public, max-age=60"
    assert api.get("/processed/a.csv.torrent").content[:1] == b"d"


def test_a_metalink_has_sizes_digests_mirrors_and_the_torrent_of_a_lone_file(
    centre: Centre, monkeypatch: pytest.MonkeyPatch
) -> None:
    centre.settings = centre.settings.model_copy(update={"alone_from": 1})
    centre.mirror("a.csv")
    centre.prove()
    with redirecting(centre, monkeypatch) as api:
        answer = api.get("/d/data/latest/a.csv.meta4")
        label = label_of(centre)
        assert answer.headers["content-type"] == "application/metalink4+xml"
        assert answer.headers["content-disposition"].endswith("a.csv.meta4")
        space = "{urn:ietf:params:xml:ns:metalink}"
        file = ET.fromstring(answer.content).find(f"{space}file")
        assert file is not None
        told = {one: file.findtext(f"{space}{one}") for one in ("size", "hash", "version")}
        digest = hashlib.sha256(content("a.csv")).hexdigest()
        assert told == {"size": str(len(content("a.csv"))), "hash": digest, "version": label}
        urls = file.findall(f"{space}url")
        assert [one.get("priority") for one in urls] == ["1", "2", "3"]
        assert urls[0].text == api.get("/d/data/latest/a.csv").headers["location"]
        assert {one.get("location") for one in urls} == {"ca", "nl", None}
        piece = hashlib.sha1(content("a.csv")).hexdigest()
        assert file.findtext(f"{space}pieces/{space}hash") == piece
        torrent = file.find(f"{space}metaurl")
        assert torrent is not None
        assert torrent.text == f"{api.url}/d/data/{label}/a.csv.torrent"
        assert parse(api.client.get(torrent.text).content).name == "a.csv"
        again = api.get("/d/data/latest/a.csv.meta4", {"If-None-Match": answer.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")


def test_the_torrent_and_the_magnet_of_a_file_are_those_of_its_shard(api: Api) -> None:
    with api.centre.store.read() as session:
        infohash = shard_of(session).infohash or ""
    torrent = api.get("/d/data/latest/a.csv.torrent")
    assert torrent.headers["content-type"] == "application/x-bittorrent"
    assert torrent.content == api.get(f"/api/v1/torrents/{infohash}.torrent").content
    assert infohash in api.get("/d/data/latest/a.csv.magnet").text
    assert "<metaurl" not in api.get("/d/data/latest/a.csv.meta4").text


def test_a_file_that_is_called_like_a_torrent_is_that_file(
    centre: Centre, monkeypatch: pytest.MonkeyPatch
) -> None:
    centre.mirror("a.csv", "a.csv.torrent", "a.csv.meta4")
    centre.prove()
    with redirecting(centre, monkeypatch) as api:
        answer = api.get("/d/data/latest/a.csv.torrent")
        assert answer.status_code == 307
        assert answer.headers["location"].endswith("/a.csv.torrent")
        assert links(api.get("/d/data/latest/a.csv"), "describedby") == []
        assert api.get("/d/data/latest/a.csv.torrent.torrent").status_code == 200


def test_the_mirrors_of_a_file_are_shown_to_people_in_both_languages(api: Api) -> None:
    with api.centre.store.write() as session:
        theirs = select(Replica).where(Replica.site_id == "netcup")
        for row in session.exec(theirs).all():
            row.proved_at = None
    path, label = "/d/data/latest/%C3%A9%20b.csv", label_of(api.centre)
    until(lambda: len(links(api.get(path), "duplicate")) == 2)
    asked = api.get(f"{path}?mirrors", PAGE | {"Accept-Language": "fr"})
    page = f"mirrors/data/{label}/{quote('é b.csv')}"
    assert asked.headers["location"] == f"/fr/{page}"
    texts = {one: api.get(f"/{one}/{page}").text for one in ("en", "fr")}
    assert "Copies that nobody is sent to now" in texts["en"]
    assert "Copies où personne n’est envoyé" in texts["fr"]
    for text in texts.values():
        assert f'<a href="http://toronto.example/data/{label}/%C3%A9%20b.csv"' in text
        assert "no other site has read a whole piece of it" in text
        assert f'href="/d/data/{label}/%C3%A9%20b.csv.torrent"' in text
    assert f'href="/fr/{page}"' in texts["en"]
    assert api.get(f"/en/{page}x").status_code == 404


def test_while_the_database_is_away_it_redirects_and_says_of_when_it_knows(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = "/d/data/latest/a.csv"
    before = api.get(path)
    assert "fleet-stale-since" not in before.headers
    monkeypatch.setattr(snapshot, "_LATE", 0.3)
    with lacking(api.centre.store, "site"), lacking(api.centre.store, "shard"):
        until(lambda: "fleet-stale-since" in api.get(path).headers)
        answer = api.get(path)
        assert answer.headers["location"] == before.headers["location"]
        assert answer.headers["fleet-stale-since"] == "2026-03-01T12:00:05Z"
        assert b"<url" in api.get(f"{path}.meta4").content
        torrent = api.get(f"{path}.torrent")
        assert (torrent.status_code, torrent.headers["retry-after"]) == (503, "60")
        assert "The database is away" in torrent.json()["detail"]
        shown = json.loads(api.get(f"{path}?mirrors").text)
        assert shown["stale_since"].startswith("2026-03-01T12:00:05")
    until(lambda: "fleet-stale-since" not in api.get(path).headers)


def test_health_says_that_the_database_is_away_and_of_when_downloads_are_sent_by(
    sqlite_databases: Databases,
) -> None:
    store = Store(sqlite_databases.make())
    database = Path(store.engine.url.database or "")
    with serving(store, CentreSettings()) as url, httpx.Client(base_url=url) as client:
        until(lambda: client.get("/d/none/1/a.csv").status_code == 404)
        assert client.get("/api/v1/health").json()["status"] == "operational"
        database.rename(database.with_suffix(".elsewhere"))
        database.mkdir()
        store.engine.dispose()
        answer = client.get("/api/v1/health")
        assert answer.status_code == 200
        said = answer.json()
        assert (said["status"], said["reason"]) == ("degraded", "the database is away")
        assert datetime.now(UTC) - datetime.fromisoformat(said["redirects_as_of"]) < HOUR
        assert client.get("/d/none/1/a.csv").status_code == 404
    store.close()
