"""How peers find a real seeder, talk to it, and are counted: real clients over loopback."""

import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import libtorrent as lt
import pytest

from fleet.settings import SiteSettings
from fleet.torrent.bencode import decode
from tests.seeder_support import PIECE, Centre, Process, Shard, aria2, eventually, running, site
from workers.seeder.fetch import fetch

ARIA2 = pytest.mark.skipif(not shutil.which("aria2c"), reason="needs aria2c (package aria2)")
QUIET: dict[str, Any] = {
    "alert_mask": 0,
    "enable_dht": False,
    "enable_lsd": False,
    "enable_upnp": False,
    "enable_natpmp": False,
    "allow_multiple_connections_per_ip": True,
}
PIECES = 20


@pytest.fixture
def told() -> Iterator[Centre]:
    """The centre that the seeder is told of."""
    centre = Centre()
    yield centre
    centre.close()


@pytest.fixture
def settings(tmp_path: Path) -> SiteSettings:
    return site(tmp_path)


def _shard(settings: SiteSettings, told: Centre) -> Shard:
    shard = Shard("ds", {"a": PIECES * PIECE}, trackers=(told.tracker,), web_seeds=())
    shard.put(settings.store_root)
    told.want(shard)
    return shard


class Client:
    """A libtorrent client of its own, and what it makes of one torrent."""

    def __init__(self, host: str = "127.0.0.1", **pack: Any) -> None:
        self.session = lt.session({**QUIET, "listen_interfaces": f"{host}:0", **pack})
        everybody = lt.ip_filter()
        everybody.add_rule("0.0.0.0", "255.255.255.255", 1 << lt.session.global_peer_class_id)
        self.session.set_peer_class_filter(everybody)
        self.folder = Path(tempfile.mkdtemp())

    @property
    def port(self) -> int:
        return int(self.session.listen_port())

    def download(self, params: Any, *peers: tuple[str, int]) -> None:
        """Ask nobody but ``peers``, and whom they or the settings lead to."""
        params.trackers = []
        params.peers = list(peers)
        params.save_path = str(self.folder)
        params.flags &= ~(lt.torrent_flags.auto_managed | lt.torrent_flags.paused)
        self.handle = self.session.add_torrent(params)

    @property
    def whole(self) -> bool:
        return bool(self.handle.status(0).is_seeding)

    def count(self, name: str) -> int:
        """One of libtorrent's own counts."""
        self.session.post_session_stats()
        while self.session.wait_for_alert(20_000):
            for alert in self.session.pop_alerts():
                if isinstance(alert, lt.session_stats_alert):
                    return int(alert.values[name])
        raise AssertionError("libtorrent does not answer")

    @property
    def got(self) -> int:
        return int(self.handle.status(0).total_payload_download)

    def knows(self, other: "Client") -> bool:
        return any(peer.ip[1] == other.port for peer in self.handle.get_peer_info())


def _torrent(shard: Shard) -> Any:
    return lt.load_torrent_buffer(shard.torrent)


def _magnet(shard: Shard) -> Any:
    return lt.parse_magnet_uri(f"magnet:?xt=urn:btih:{shard.infohash}")


def _address(seeder: Process) -> tuple[str, int]:
    return "127.0.0.1", seeder.ready()["bittorrent"]


@ARIA2
@pytest.mark.parametrize(
    "options",
    [
        ("--bt-require-crypto=true", "--bt-min-crypto-level=arc4"),
        ("--bt-min-crypto-level=plain",),
    ],
)
def test_aria2_has_encryption_where_it_wants_it(
    tmp_path: Path, told: Centre, settings: SiteSettings, options: tuple[str, ...]
) -> None:
    shard = _shard(settings, told)
    with running(settings, told.url) as seeder:
        assert seeder.sync()["seeding"] == 1
        told.peers = [_address(seeder)]
        done = aria2(shard.torrent, tmp_path / "peer", shard.folder, *options)
    assert done.returncode == 0, done.stdout
    assert shard.lies_in(tmp_path / "peer")


@pytest.mark.parametrize(
    ("policy", "level"),
    [
        (lt.enc_policy.pe_disabled, lt.enc_level.pe_both),
        (lt.enc_policy.pe_forced, lt.enc_level.pe_plaintext),
        (lt.enc_policy.pe_forced, lt.enc_level.pe_rc4),
    ],
)
def test_a_client_of_any_encryption_is_served(
    told: Centre, settings: SiteSettings, policy: Any, level: Any
) -> None:
    shard = _shard(settings, told)
    with running(settings, told.url) as seeder:
        assert seeder.sync()["seeding"] == 1
        client = Client(
            in_enc_policy=int(policy), out_enc_policy=int(policy), allowed_enc_level=int(level)
        )
        client.download(_torrent(shard), _address(seeder))
        eventually(lambda: client.whole, "the client has it")


def test_a_peer_gets_no_more_once_nothing_may_be_uploaded(
    tmp_path: Path, told: Centre, settings: SiteSettings
) -> None:
    shard = _shard(settings, told)
    told.caps = {"bytes_per_second": 40_000}
    with running(settings, told.url) as seeder:
        assert seeder.sync()["seeding"] == 1
        client = Client()
        client.download(_torrent(shard), _address(seeder))
        eventually(lambda: client.got, "the client gets some of it")
        told.caps = {"bytes_per_second": 0}
        assert seeder.sync()["ok"]
        before = client.got
        late = fetch(shard.torrent, tmp_path / "late", [_address(seeder)], timeout=4)
        assert (late.ok, late.bytes_from_peers) == (False, 0)
        # a block was on its way
        assert client.got <= before + 2 * PIECE
        assert not client.whole


@pytest.mark.slow
def test_peers_learn_of_each_other_from_it(told: Centre, settings: SiteSettings) -> None:
    """Both clients download slowly from the seeder alone, and are given no other address."""
    shard = _shard(settings, told)
    told.caps = {"bytes_per_second": 10_000}
    with running(settings, told.url) as seeder:
        assert seeder.sync()["seeding"] == 1
        first, second = Client(), Client()
        for client in (first, second):
            client.download(_torrent(shard), _address(seeder))
        eventually(lambda: first.knows(second) or second.knows(first), "they met", 80)


@pytest.mark.parametrize("pex", [True, False])
def test_it_offers_to_tell_of_peers_unless_it_may_not(
    told: Centre, settings: SiteSettings, pex: bool
) -> None:
    shard = _shard(settings, told)
    with running(settings, told.url, FLEET_PEX=str(pex)) as seeder:
        assert seeder.sync()["seeding"] == 1
        offered = _extensions(_address(seeder), shard)
    assert b"ut_metadata" in offered
    assert (b"ut_pex" in offered) == pex


def _extensions(address: tuple[str, int], shard: Shard) -> dict[bytes, object]:
    """Shake hands as a peer, and read the extensions that are offered (BEP 10)."""
    with socket.create_connection(address, 20) as link, link.makefile("rb") as stream:
        speaks = bytes(5) + b"\x10" + bytes(2)
        head = b"\x13BitTorrent protocol" + speaks + bytes.fromhex(shard.infohash)
        link.sendall(head + b"-XX0000-" + b"x" * 12)
        assert len(stream.read(68)) == 68
        while True:
            message = stream.read(int.from_bytes(stream.read(4)))
            if message[:2] == b"\x14\x00":
                told = decode(message[2:], max_bytes=len(message))
                assert isinstance(told, dict)
                offered = told[b"m"]
                assert isinstance(offered, dict)
                return offered


@pytest.mark.parametrize("lsd", [True, False])
def test_a_client_of_the_same_network_finds_it_by_multicast_if_it_may(
    told: Centre, settings: SiteSettings, lsd: bool
) -> None:
    shard = _shard(settings, told)
    with running(settings, told.url, FLEET_LSD=str(lsd)) as seeder:
        client = Client(enable_lsd=True)
        client.download(_torrent(shard))
        assert seeder.sync()["seeding"] == 1
        if lsd:
            eventually(lambda: client.whole, "the client has it")
        else:
            # what another client tells arrives, what the seeder would have told did not
            other = Client(enable_lsd=True)
            other.download(_torrent(shard))
            eventually(lambda: client.knows(other) or other.knows(client), "they met")
            assert not any(peer.ip == _address(seeder) for peer in client.handle.get_peer_info())


def _own_address() -> str:
    """The machine's own address: libtorrent runs no DHT on the loopback interface's."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # names a route and sends nothing
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])


@pytest.mark.skipif(
    _own_address().startswith("127."), reason="needs an address beside loopback's, for the DHT"
)
def test_a_magnet_without_peers_resolves_through_the_dht(
    told: Centre, settings: SiteSettings
) -> None:
    shard, host = _shard(settings, told), _own_address()
    told.want()
    node = Client(host, enable_dht=True, dht_bootstrap_nodes="", dht_restrict_routing_ips=False)
    lead = f"{host}:{node.port}"
    eventually(node.session.is_dht_running, "the first node runs")
    more = {"FLEET_BITTORRENT": f"{host}:0", "FLEET_DHT": "true", "FLEET_DHT_NODES": lead}
    with running(settings, told.url, **more) as seeder:
        eventually(lambda: node.count("dht.dht_get_peers_in") >= 1, "the seeder joins the DHT")
        told.want(shard)
        assert seeder.sync()["seeding"] == 1
        eventually(lambda: node.count("dht.dht_announce_peer_in"), "it tells of its torrent")
        before = node.count("dht.dht_get_peers_in")
        client = Client(host, enable_dht=True, dht_bootstrap_nodes=lead)
        eventually(lambda: node.count("dht.dht_get_peers_in") > before, "the client joins")
        client.download(_magnet(shard))
        eventually(lambda: client.whole, "the magnet resolves")


@pytest.mark.parametrize("nodes", ["nowhere", "host:", ":1", "host:99999"])
def test_an_address_of_a_node_that_cannot_be_is_refused(tmp_path: Path, nodes: str) -> None:
    with pytest.raises(ValueError, match="is no address: give host:port"):
        SiteSettings(home=tmp_path, site="s1", dht_nodes=nodes)


def test_the_centre_hears_of_the_copies_that_peers_have_between_them(
    told: Centre, settings: SiteSettings
) -> None:
    """Each of two peers has one half: with the seeder's own that is two complete copies."""
    shard = _shard(settings, told)
    told.caps = {"bytes_per_second": 4000}
    data = shard.files["a"]
    half = PIECES // 2 * PIECE
    with running(settings, told.url, FLEET_PEX="false") as seeder:
        assert seeder.sync()["seeding"] == 1
        assert seeder.torrent(shard.infohash)["availability"] == 1
        halves = (data[:half] + bytes(half), bytes(half) + data[half:])
        clients = [Client() for _ in halves]
        for client, held in zip(clients, halves, strict=True):
            (client.folder / "a").write_bytes(held)

        def counted(copies: int) -> bool:
            assert seeder.sync()["ok"]
            return bool(told.last(shard.infohash)["availability"] == copies)

        clients[0].download(_torrent(shard), _address(seeder))
        eventually(lambda: seeder.sync()["ok"] and told.last(shard.infohash)["peers"], "one peer")
        assert counted(1)
        clients[1].download(_torrent(shard), _address(seeder))
        eventually(lambda: counted(2), "both halves make a copy")
        assert told.last(shard.infohash)["complete"] == 0
        # they are alive until here
        assert not any(client.whole for client in clients)
