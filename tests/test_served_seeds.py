"""What each site shall seed, and the torrents and magnet links that anybody may have."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from sqlmodel import select

from fleet.control import observations, replicas, seeds
from fleet.control.rules import RuleSpec
from fleet.messages import DesiredSeeds, ItemResult, Observation
from fleet.store.database import Store
from fleet.store.tables import Rule, Shard, TorrentAlias
from fleet.torrent.parsed import ParsedTorrent, parse
from tests.api_support import Api, served, three_sites
from tests.centre_support import MOMENT, content

SITES = {"toronto", "amsterdam", "netcup"}


@pytest.fixture
def api(sqlite_store: Store, tmp_path: Path) -> Iterator[Api]:
    with served(three_sites(sqlite_store, tmp_path)) as one:
        yield one


def _published(api: Api, *paths: str) -> str:
    """Mirror files to every site; return the one infohash."""
    api.centre.mirror(*paths)
    api.centre.prove()
    told = api.get("/api/v1/datasets/data").json()["torrents"]
    [infohash] = [one["infohash"] for one in told if one["name"] != "manifest.json"]
    return str(infohash)


def _parsed(api: Api, infohash: str) -> ParsedTorrent:
    answer = api.get(f"/api/v1/torrents/{infohash}.torrent")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/x-bittorrent"
    assert f'filename="{infohash}.torrent"' in answer.headers["Content-Disposition"]
    return parse(answer.content)


def _shard(api: Api) -> str:
    """The one shard that is no manifest."""
    with api.centre.store.read() as session:
        return session.exec(select(Shard.id).where(Shard.name != "manifest.json")).one()


def _seeds(api: Api, site: str, **known: str) -> list[dict[str, Any]]:
    """What a site is told to seed besides manifests."""
    told = api.ask(site, "GET", "seeds", headers=known).json()["seeds"]
    return [one for one in told if one["name"] != "manifest.json"]


def _doubt(api: Api, site: str) -> None:
    shard = _shard(api)
    seen = Observation(kind="bit rot", site=site, shard=shard, at=MOMENT)
    observations.keep(api.centre.store, seen)


def _lose(api: Api, site: str) -> None:
    shard = _shard(api)
    with api.centre.store.write() as session:
        faulty = [ItemResult(artifact="a", ok=False, fault="corrupt")]
        replicas.lose(session, shard, site, faulty, "it is bad", MOMENT)


def _peers(api: Api, site: str) -> tuple[str, ...]:
    [seed] = api.centre.seeds(site)
    return seed.peers


def _say(api: Api, site: str, infohash: str, state: str, error: str = "") -> None:
    """Report as a site's seeder does."""
    words = [{"infohash": infohash, "state": state, "error": error}]
    assert api.ask(site, "POST", "seeds/report", json=words).status_code == 204


def _label(api: Api) -> str:
    return str(api.get("/api/v1/datasets/data").json()["version"])


def test_a_site_is_told_what_to_seed_and_only_once(api: Api) -> None:
    infohash = _published(api, "a.csv", "c.csv")
    answer = api.ask("toronto", "GET", "seeds")
    wanted = DesiredSeeds.model_validate_json(answer.content)
    [seed, _manifest] = wanted.seeds
    size = len(content("a.csv") + content("c.csv"))
    assert (seed.infohash, seed.folder, seed.name, seed.size) == (infohash, "", "data", size)
    assert answer.headers["ETag"] == f'"{wanted.revision}"'
    again = api.ask("toronto", "GET", "seeds", headers={"If-None-Match": answer.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_the_list_has_a_new_revision_when_it_changes(api: Api) -> None:
    empty = api.ask("toronto", "GET", "seeds")
    assert empty.json()["seeds"] == []
    _published(api, "a.csv")
    known = {"If-None-Match": empty.headers["ETag"]}
    full = api.ask("toronto", "GET", "seeds", headers=known)
    assert full.status_code == 200
    _lose(api, "toronto")
    known = {"If-None-Match": full.headers["ETag"]}
    assert _seeds(api, "toronto", **known) == []
    other = api.ask("amsterdam", "GET", "seeds", headers=known)
    assert other.status_code == 304  # what toronto lost, amsterdam still has


def test_a_site_that_holds_nothing_seeds_nothing(api: Api) -> None:
    api.centre.mirror("a.csv", rule=RuleSpec(selector="id=toronto"))
    api.centre.work()
    told = {site: len(_seeds(api, site)) for site in SITES}
    assert told == {"toronto": 1, "amsterdam": 0, "netcup": 0}


def test_a_sites_torrent_is_the_public_one(api: Api) -> None:
    infohash = _published(api, "a.csv")
    own = api.ask("toronto", "GET", f"seeds/{infohash}.torrent")
    assert own.headers["Content-Type"] == "application/x-bittorrent"
    assert own.content == api.get(f"/api/v1/torrents/{infohash}.torrent").content
    assert api.ask("toronto", "GET", f"seeds/{'0' * 40}.torrent").status_code == 404


def test_what_seeders_report_is_shown_with_the_copies(api: Api) -> None:
    infohash = _published(api, "a.csv")
    for uploaded in (5000, 12_345):
        report = [{"infohash": infohash, "peers": 3, "uploaded": uploaded, "state": "seeding"}]
        answer = api.ask("toronto", "POST", "seeds/report", json=report)
        assert (answer.status_code, answer.content) == (204, b"")
    copies = api.get("/api/v1/datasets/data").json()["copies"]
    assert {one["site"]: one["uploaded"] for one in copies} == {
        "toronto": 12_345,
        "amsterdam": 0,
        "netcup": 0,
    }


def test_a_torrent_holds_the_files_and_the_web_seeds_of_every_verified_copy(api: Api) -> None:
    infohash = _published(api, "a.csv", "c.csv")
    parsed = _parsed(api, infohash)
    label = _label(api)
    assert parsed.infohash == infohash
    assert parsed.content == (
        (f"data/{label}/a.csv", len(content("a.csv"))),
        (f"data/{label}/c.csv", len(content("c.csv"))),
    )
    assert set(parsed.web_seeds) == {f"http://{site}.example/" for site in SITES}


def test_a_lone_files_web_seeds_are_its_full_addresses(api: Api) -> None:
    parsed = _parsed(api, _published(api, "%C3%A9%20c.csv"))
    assert parsed.single
    assert set(parsed.web_seeds) == {
        f"http://{site}.example/data/{_label(api)}/%C3%A9%20c.csv" for site in SITES
    }


def test_a_copy_in_doubt_is_no_web_seed_and_the_infohash_stays(api: Api) -> None:
    infohash = _published(api, "a.csv", "b.csv")
    _doubt(api, "netcup")
    parsed = _parsed(api, infohash)
    assert parsed.infohash == infohash
    assert set(parsed.web_seeds) == {"http://toronto.example/", "http://amsterdam.example/"}


def test_a_magnet_link_names_the_peers_that_hold_it_verified(api: Api) -> None:
    api.centre.apply_sites("toronto", peer="toronto.example:6881")
    api.centre.apply_sites("netcup", peer="[2001:db8::1]:6882")
    api.centre.apply_sites("amsterdam", peer="amsterdam.example:6881")
    infohash = _published(api, "a.csv", "b.csv")
    _doubt(api, "amsterdam")
    link = api.get(f"/api/v1/torrents/{infohash}.magnet").text
    fields = parse_qs(urlsplit(link).query)
    assert fields["xt"] == [f"urn:btih:{infohash}"]
    assert fields["dn"] == ["data"]
    assert set(fields["x.pe"]) == {"toronto.example:6881", "[2001:db8::1]:6882"}
    assert set(fields["ws"]) == {"http://toronto.example/", "http://netcup.example/"}


def test_an_unknown_torrent_is_not_found(api: Api) -> None:
    for suffix in ("torrent", "magnet"):
        answer = api.get(f"/api/v1/torrents/{'0' * 40}.{suffix}")
        assert answer.status_code == 404
        assert answer.json()["detail"] == f"no torrent of this fleet has the infohash {'0' * 40}"


def test_a_torrent_says_in_both_languages_what_it_is_of_and_how_it_is_proved(api: Api) -> None:
    infohash = _published(api, "a.csv", "c.csv")
    name = f"data, version {_label(api)}"
    assert _parsed(api, infohash).comment == (
        f"{name}: each file is proved by its SHA-256 in the catalogue / "
        f"{name} : chaque fichier est prouvé par son SHA-256 au catalogue"
    )
    path = f"/api/v1/torrents/{infohash}.torrent"
    assert api.get(path).content == api.get(path).content


def test_a_copy_in_doubt_is_seeded_but_named_to_nobody_outside(api: Api) -> None:
    api.centre.apply_sites("toronto", peer="toronto.example:6881")
    infohash = _published(api, "a.csv")
    _doubt(api, "toronto")
    assert len(_seeds(api, "toronto")) == 1
    assert "toronto" not in api.get(f"/api/v1/torrents/{infohash}.magnet").text
    assert _peers(api, "amsterdam") == ("toronto.example:6881",)
    _lose(api, "toronto")
    assert _seeds(api, "toronto") == []
    assert _peers(api, "amsterdam") == ()


def test_a_site_is_told_whom_it_can_dial_from_the_moment_that_they_are_to_fetch(api: Api) -> None:
    centre = api.centre
    centre.apply_sites("netcup", peer="netcup.example:6881")
    centre.mirror("a.csv", rule=RuleSpec(selector="id=toronto"))
    centre.work()
    alone = seeds.desired(centre.store, "toronto")
    assert alone.seeds[0].peers == ()
    with centre.store.write() as session:
        session.exec(select(Rule)).one().selector = "kind=node"
    centre.apply_sites("toronto")  # has every rule looked at
    centre.tick()
    orders = centre.orders()
    assert {order.site for order in orders} == {"amsterdam", "netcup"}
    told = seeds.desired(centre.store, "toronto")
    assert told.seeds[0].peers == ("netcup.example:6881",)  # amsterdam has no address
    assert told.revision != alone.revision
    for order in orders:
        centre.report(order)
    assert seeds.desired(centre.store, "toronto").seeds == told.seeds
    assert _peers(api, "netcup") == ()
    assert _peers(api, "amsterdam") == ("netcup.example:6881",)


def test_a_seeder_that_says_corrupt_has_its_copy_verified_once(api: Api) -> None:
    centre = api.centre
    infohash = _published(api, "a.csv")
    _say(api, "toronto", infohash, "seeding")
    for good in (3, 2):
        _say(api, "toronto", infohash, "corrupt", f"{good} pieces are good")
    assert centre.replicas()["toronto"] == ["suspect"]
    [verify] = centre.transfers(kind="verify")
    assert verify.reason == "the seeder at toronto says: 3 pieces are good"
    centre.work()
    assert centre.replicas()["toronto"] == ["available"]
    _say(api, "toronto", infohash, "corrupt", "2 pieces are good")
    assert centre.replicas()["toronto"] == ["available"]  # it is no news
    _say(api, "toronto", infohash, "seeding")
    _say(api, "toronto", infohash, "corrupt", "1 piece is good")
    assert centre.replicas() == {
        "toronto": ["suspect"],
        "amsterdam": ["available"],
        "netcup": ["available"],
    }


def test_a_seeder_that_misses_files_has_its_copy_verified_once(api: Api) -> None:
    infohash = _published(api, "a.csv")
    _say(api, "toronto", infohash, "seeding")
    _say(api, "toronto", infohash, "missing", "data/1/a.csv is gone")
    [verify] = api.centre.transfers(kind="verify")
    assert verify.reason == "the seeder at toronto says: data/1/a.csv is gone"
    api.centre.work()
    _say(api, "toronto", infohash, "missing", "data/1/a.csv is gone")
    assert api.centre.replicas()["toronto"] == ["available"]  # it is no news


def test_a_torrent_that_is_a_shards_and_anothers_alias_has_both_verified(api: Api) -> None:
    centre = api.centre
    centre.settings = centre.settings.model_copy(update={"alone_from": 1})
    centre.mirror("a.csv", "b.csv")
    centre.work()
    with centre.store.write() as session:
        one, other, _manifest = session.exec(select(Shard).order_by(Shard.position)).all()
        infohash = one.infohash or ""
        alias = TorrentAlias(
            infohash=infohash,
            shard_id=other.id,
            torrent="",
            name="b.csv",
            size=other.size,
            theirs="",
            ours="",
            state="verified",
            created_at=MOMENT,
        )
        session.add(alias)
    _say(api, "toronto", infohash, "corrupt")
    assert centre.replicas()["toronto"] == ["suspect", "suspect"]


def test_a_seeders_good_word_promotes_nothing(api: Api) -> None:
    infohash = _published(api, "a.csv")
    _doubt(api, "toronto")
    _say(api, "toronto", infohash, "seeding")
    _say(api, "toronto", "0" * 40, "corrupt")  # and of what is not there it says nothing
    assert api.centre.replicas()["toronto"] == ["suspect"]
