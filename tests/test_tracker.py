"""The tracker serves what the fleet seeds and nothing else, and follows the catalogue."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote_from_bytes, urlsplit

import httpx
import libtorrent as lt
import pytest
from pydantic import ValidationError
from sqlmodel import select

from fleet.control import mirror, replicas, torrents, tracker
from fleet.control.errors import FleetError
from fleet.control.rules import RuleSpec
from fleet.control.scrape import Figures, scrape
from fleet.messages import ItemResult
from fleet.settings import CentreSettings
from fleet.store.database import Store
from fleet.store.tables import Replica, Shard
from fleet.torrent.bencode import decode
from fleet.torrent.metainfo import torrent_bytes
from fleet.torrent.parsed import parse
from tests.api_support import served, three_sites
from tests.centre_support import Centre
from tests.databases import Databases
from tests.fault_server import FaultServer
from tests.seeder_support import eventually
from tests.torrent_clients import free_port

URLS = ("http://tracker.example:6969/announce", "udp://tracker.example:6969/announce")
opentracker_is_there = pytest.mark.skipif(
    not shutil.which("opentracker"), reason="needs opentracker (Debian package opentracker)"
)


def publish(centre: Centre, dataset: str) -> list[str]:
    """Mirror a file to every site, and return its infohash, and the manifest's."""
    listing = centre.folder / "list.txt"
    listing.write_text(f"https://origin.example/{dataset}.csv\n")
    version = mirror.mirror_dataset(centre.store, str(listing), RuleSpec(), dataset=dataset).version
    centre.work()
    with centre.store.read() as session:
        shards = select(Shard).where(Shard.version_id == version).order_by(Shard.position)
        return [one.infohash or "" for one in session.exec(shards).all()]


def lose(store: Store) -> None:
    """Find every copy of everything bad."""
    with store.write() as session:
        faulty = [ItemResult(artifact="a", ok=False, fault="corrupt")]
        for one in session.exec(select(Replica)).all():
            replicas.lose(session, one.shard_id, one.site_id, faulty, "bit rot", store.now(session))


def listed(path: Path) -> list[str]:
    return [line for line in path.read_text().splitlines() if not line.startswith("#")]


def test_the_list_is_what_sites_hold(sqlite_store: Store, tmp_path: Path) -> None:
    centre, path = three_sites(sqlite_store, tmp_path), tmp_path / "tracker" / "allow-list"
    assert tracker.keep_list(sqlite_store, path)
    assert listed(path) == []
    assert path.stat().st_size > 0
    both = sorted([*publish(centre, "census"), *publish(centre, "roads")])
    assert tracker.keep_list(sqlite_store, path)
    assert listed(path) == both
    lose(sqlite_store)
    assert tracker.keep_list(sqlite_store, path)
    assert listed(path) == []
    assert [one.name for one in path.parent.iterdir()] == ["allow-list"]


def test_a_list_that_is_right_is_not_written_again(sqlite_store: Store, tmp_path: Path) -> None:
    centre, path = three_sites(sqlite_store, tmp_path), tmp_path / "allow-list"
    publish(centre, "census")
    assert tracker.keep_list(sqlite_store, path)
    before = path.stat()
    assert not tracker.keep_list(sqlite_store, path)
    assert path.stat().st_ino == before.st_ino
    path.write_text("damaged\n")
    assert tracker.keep_list(sqlite_store, path)


def test_served_torrents_and_magnets_carry_the_trackers(
    sqlite_store: Store, tmp_path: Path
) -> None:
    settings = CentreSettings(home=tmp_path, trackers=URLS)
    with served(three_sites(sqlite_store, tmp_path, settings)) as api:
        infohash, _manifest = publish(api.centre, "census")
        for answer in (
            api.get(f"/api/v1/torrents/{infohash}.torrent"),
            api.ask("toronto", "GET", f"seeds/{infohash}.torrent"),
        ):
            parsed = parse(answer.content)
            assert parsed.infohash == infohash
            assert tuple(parsed.trackers) == URLS
        link = api.get(f"/api/v1/torrents/{infohash}.magnet").text
        assert tuple(parse_qs(urlsplit(link).query)["tr"]) == URLS


def test_the_setting_takes_urls_with_commas_and_refuses_what_is_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FLEET_TRACKERS", ", ".join(URLS))
    assert CentreSettings().trackers == URLS
    monkeypatch.setenv("FLEET_TRACKERS", "tracker.example:6969")
    with pytest.raises(ValidationError, match="no tracker's announce URL"):
        CentreSettings()


def test_without_opentracker_the_command_names_the_package(tmp_path: Path) -> None:
    env = {"PATH": str(tmp_path), "FLEET_HOME": str(tmp_path)}
    words = [sys.executable, "-m", "fleet", "tracker"]
    done = subprocess.run(words, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    [line] = done.stderr.splitlines()
    assert line.startswith("fleet: opentracker is not installed")
    assert "apt-get install opentracker" in line


def test_figures_of_no_tracker_are_refused_in_one_line(
    sqlite_store: Store, server: FaultServer
) -> None:
    url = server.serve("scrape", b"d5:filesd20:aaaaaaaaaaaaaaaaaaaad8:complete3:onee")
    with pytest.raises(FleetError, match="cannot be read"):
        scrape(url, ["61" * 20])
    url = server.serve("scrape", b"d5:filesd20:aaaaaaaaaaaaaaaaaaaad8:complete3:oneeee")
    assert scrape(url, ["61" * 20]) == [Figures("61" * 20, 0, 0, 0)]
    with pytest.raises(FleetError, match="cannot be read"):
        scrape(f"http://127.0.0.1:{free_port()}/scrape", ["61" * 20])


@opentracker_is_there
def test_an_address_that_is_none_is_refused(sqlite_databases: Databases, tmp_path: Path) -> None:
    env = os.environ | {
        "FLEET_HOME": str(tmp_path),
        "FLEET_DATABASE_URL": sqlite_databases.make(),
        "FLEET_TRACKER": "6969",
    }
    words = [sys.executable, "-m", "fleet", "tracker"]
    done = subprocess.run(words, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stderr == "fleet: FLEET_TRACKER is '6969': give address:port\n"


@dataclass
class Announcer:
    """A libtorrent session that announces one torrent, and what the tracker answered."""

    torrent: bytes
    folder: Path
    refused: str = ""
    served: bool = False
    _session: Any = field(init=False)

    def __post_init__(self) -> None:
        pack: Any = {
            "listen_interfaces": "127.0.0.1:0",
            "enable_dht": False,
            "enable_lsd": False,
            "enable_upnp": False,
            "enable_natpmp": False,
            "stop_tracker_timeout": 1,
            "alert_mask": int(lt.alert.category_t.tracker_notification)
            | int(lt.alert.category_t.error_notification),
        }
        self._session = lt.session(pack)
        params = lt.load_torrent_buffer(self.torrent)
        params.save_path = str(self.folder)
        params.flags &= ~(lt.torrent_flags.auto_managed | lt.torrent_flags.paused)
        self._session.add_torrent(params)

    def answered(self) -> bool:
        """Whether the tracker has answered by now."""
        for alert in self._session.pop_alerts():
            if isinstance(alert, lt.tracker_reply_alert):
                self.served = True
            if isinstance(alert, lt.tracker_error_alert):
                self.refused = alert.failure_reason()
        return self.served or bool(self.refused)

    @property
    def port(self) -> int:
        return int(self._session.listen_port())


@dataclass
class Tracker:
    """A running `fleet tracker`."""

    port: int
    env: dict[str, str]
    process: subprocess.Popen[bytes]

    def scraped(self) -> list[dict[str, Any]]:
        words = [sys.executable, "-m", "fleet", "tracker", "--scrape", "--json"]
        done = subprocess.run(words, env=self.env, capture_output=True, timeout=60, check=True)
        figures: list[dict[str, Any]] = json.loads(done.stdout)
        return figures

    def peers(self, infohash: str) -> set[int] | None:
        """The ports of the peers that an announce is answered with; None: it is refused."""
        query = f"info_hash={quote_from_bytes(bytes.fromhex(infohash), safe='')}"
        query += f"&peer_id={'-XX0001-'.ljust(20, 'x')}&port=1&left=1&compact=1"
        url = f"http://127.0.0.1:{self.port}/announce?{query}"
        try:
            answer = decode(httpx.get(url, trust_env=False).content)
        except httpx.TransportError:
            return None
        assert isinstance(answer, dict)
        if b"failure reason" in answer:
            return None
        compact = answer[b"peers"]
        assert isinstance(compact, bytes)
        return {int.from_bytes(compact[at + 4 : at + 6]) for at in range(0, len(compact), 6)}

    def accepts(self, infohash: str) -> bool:
        return self.peers(infohash) is not None


@contextlib.contextmanager
def running(home: Path, database: str) -> Iterator[Tracker]:
    port = free_port()
    env = os.environ | {
        "FLEET_HOME": str(home),
        "FLEET_DATABASE_URL": database,
        "FLEET_TRACKER": f"127.0.0.1:{port}",
    }
    with subprocess.Popen([sys.executable, "-m", "fleet", "tracker"], env=env) as process:
        try:
            yield Tracker(port, env, process)
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(30)


@opentracker_is_there
@pytest.mark.parametrize("scheme", ["http", "udp"])
def test_it_serves_the_fleets_torrents_alone_and_follows_the_catalogue(
    scheme: str, sqlite_databases: Databases, tmp_path: Path
) -> None:
    database = sqlite_databases.make()
    store = Store(database)
    centre = three_sites(store, tmp_path)
    census, _manifest = publish(centre, "census")
    with running(tmp_path / "home", database) as one:
        eventually(lambda: one.accepts(census), "the tracker serves the census")

        def announced(infohash: str, folder: str, scheme: str = scheme) -> Announcer:
            url = f"{scheme}://127.0.0.1:{one.port}/announce"
            with store.read() as session:
                meta, _, _ = torrents.torrent_of(session, infohash)
            announcer = Announcer(torrent_bytes(meta, trackers=(url,)), tmp_path / folder)
            eventually(announcer.answered, "the tracker answers")
            return announcer

        both = [announced(census, "first"), announced(census, "second")]
        ports = {announcer.port for announcer in both if announcer.served}
        assert len(ports) == 2
        assert ports <= (one.peers(census) or set())
        [counted] = [told for told in one.scraped() if told["infohash"] == census]
        assert counted["seeds"] == 0
        assert counted["leechers"] >= 2
        assert not one.accepts("ab" * 20)
        roads, _manifest = publish(centre, "roads")
        eventually(lambda: one.accepts(roads), "the tracker serves the roads as well")
        # it keeps peers in memory: had it been started anew, it would not know them
        assert ports <= (one.peers(census) or set())
        lose(store)
        eventually(lambda: not one.accepts(census), "the tracker refuses what nobody holds")
        # by UDP it says nothing that a client understands
        assert "not authorized" in announced(roads, "third", "http").refused
    assert one.process.returncode == 0
    store.close()
