from collections.abc import Sequence
from ipaddress import ip_network
from pathlib import Path

import pytest

from fleet.messages import Source
from tests.fault_server import FaultServer
from tests.pull_support import Site, item, noise, order, until
from tests.web_support import get
from workers.pull.faults import Refused, Unreachable
from workers.pull.web import Web
from workers.pull.web.addresses import check_address, check_hop, check_url
from workers.pull.web.line import MAX_KEPT_HOSTS

BODY = noise(5000)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("ftp://example.org/census.zip", "ftp: only http and https"),
        ("file:///etc/passwd", "file: only http and https"),
        ("//example.org/census.zip", "no scheme: only http and https"),
        ("http://user:pw@example.org/census.zip", "example.org: the URL carries a user"),
        ("http:///census.zip", "names no host"),
        ("http://example.org:70000/census.zip", "port 70000 does not exist"),
        ("http://[::1/census.zip", "cannot be read"),
        ("http://127.0.0.1/census.zip", "127.0.0.1: its address 127.0.0.1 is not public"),
        ("http://169.254.169.254/latest/meta-data", "169.254.169.254 is not public"),
        ("http://10.1.2.3/census.zip", "10.1.2.3 is not public"),
        ("http://[::1]/census.zip", "::1 is not public"),
        ("http://[::ffff:127.0.0.1]/census.zip", "127.0.0.1 is not public"),
        ("http://2130706433/census.zip", "127.0.0.1 is not public"),
        ("http://0x7f.1/census.zip", "127.0.0.1 is not public"),
        ("http://localhost/census.zip", "is not public"),
    ],
)
def test_a_url_that_may_not_be_asked_is_refused_for_good(site: Site, url: str, reason: str) -> None:
    found = site.pull_one(item("census.zip", url), allow_networks="")

    assert reason in found.reason
    assert "pw" not in found.reason
    assert (found.fault, found.final) == ("refused", True)


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",
        "100.64.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "224.0.0.1",
        "255.255.255.255",
        "::",
        "fc00::1",
        "fe80::1",
        "ff02::1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
        "2001:0:7f00:1::",
        "64:ff9b:1::7f00:1",
        "64:ff9b:1::101:101",
        "::ffff:0:7f00:1",
        "::127.0.0.1",
        "::10.1.2.3",
        "fec0::1",
        "feff::1",
    ],
)
def test_only_public_addresses_are_fit(address: str) -> None:
    with pytest.raises(Refused, match="is not public"):
        check_address("example.org", address, ())


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "2606:4700::1111", "64:ff9b::101:101", "::ffff:1.1.1.1"]
)
def test_public_addresses_are_fit(address: str) -> None:
    check_address("example.org", address, ())


def test_a_private_network_is_fit_when_the_site_allows_it() -> None:
    check_address("mirror.lan", "10.0.0.7", (ip_network("10.0.0.0/24"),))
    check_address("mirror.lan", "::ffff:10.0.0.7", (ip_network("10.0.0.0/24"),))
    check_address("mirror.lan", "::1", (ip_network("::1/128"),))
    check_address("mirror.lan", "fec0::1", (ip_network("fec0::/10"),))
    with pytest.raises(Refused):
        check_address("mirror.lan", "10.0.1.7", (ip_network("10.0.0.0/24"),))


def test_a_translators_own_prefix_hides_no_private_address() -> None:
    translator = (ip_network("64:ff9b:1::/48"),)

    check_address("mirror.lan", "64:ff9b:1::101:101", translator)
    with pytest.raises(Refused):
        check_address("mirror.lan", "64:ff9b:1::a00:1", translator)
    with pytest.raises(Refused):  # RFC 6052 has other places for it, which we do not read
        check_address("mirror.lan", "64:ff9b:1:a00:0:100::", translator)


def test_a_redirect_to_a_private_address_is_refused(site: Site) -> None:
    with FaultServer() as inner, FaultServer() as outer:
        secret = inner.serve("secret", BODY).replace("127.0.0.1", "127.0.0.2")
        url = outer.serve("census.zip", fault="redirect", location=secret)

        found = site.pull_one(item("census.zip", url), allow_networks="127.0.0.1/32")

        assert "127.0.0.2 is not public" in found.reason
        assert (found.fault, found.final) == ("refused", True)
        assert inner.requests == []


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("ftp://example.org/census.zip", "only http and https"),
        ("http://u:p@example.org/", "carries a user"),
        ("http://h:port/", "is no URL"),
        ("/" + "x" * 65_520, "is no URL"),
        ("gopher:", "only http and https"),
        ("https://@//|(\\@*1[", "is no URL"),
    ],
)
def test_a_redirect_is_read_like_any_url(site: Site, location: str, reason: str) -> None:
    with FaultServer() as server:
        url = server.serve("census.zip", fault="redirect", location=location)

        found = site.pull_one(item("census.zip", url))

    assert reason in found.reason
    assert found.final


def test_a_redirect_never_gives_up_encryption() -> None:
    secure = check_url("https://example.org/a/census.zip")

    with pytest.raises(Refused, match=r"redirects from https to plain http at example\.net"):
        check_hop(secure, "http://example.net/census.zip")
    assert str(check_hop(secure, "../b?x=1")) == "https://example.org/b?x=1"


def test_redirects_are_followed_and_the_range_goes_along(site: Site) -> None:
    with FaultServer() as server:
        target = server.serve("real", BODY, "truncated", cuts=(2000, None))
        hop = server.serve("hop", fault="redirect", location=target)
        url = server.serve("census.zip", fault="redirect", location=hop)

        found = site.pull_one(item("census.zip", url))

        assert found.ok
        assert found.source == url
        assert [asked.range for asked in server.asked("real")] == [None, "bytes=2000-"]


def test_one_refused_source_does_not_condemn_the_item(site: Site) -> None:
    with FaultServer() as server:
        missing = server.url("missing.zip")

        found = site.pull_one(item("census.zip", "ftp://example.org/census.zip", missing))

    assert not found.final
    assert found.fault == "source"


class Names:
    """A resolver that answers something else each time, as a rebinding name server does."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = list(answers)
        self.asked = 0

    def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked += 1
        return self.answers.pop(0)


def test_a_name_is_connected_to_at_the_address_that_was_checked(site: Site) -> None:
    names = Names(["127.0.0.1"], ["10.0.0.1"])
    with FaultServer() as server, Web(site.settings(), resolve=names) as web:
        port = server.netloc.rpartition(":")[2]
        server.serve("census.zip", BODY)

        assert get(web, f"http://mirror.example:{port}/census.zip") == BODY

        assert names.asked == 1
        assert server.requests[0].headers["host"] == f"mirror.example:{port}"


def test_a_name_with_one_private_address_is_refused_whatever_its_others_are(site: Site) -> None:
    names = Names(["1.1.1.1", "127.0.0.1"])

    with (
        Web(site.settings(allow_networks=""), resolve=names) as web,
        pytest.raises(Refused, match=r"mirror\.example: its address 127\.0\.0\.1 is not public"),
    ):
        get(web, "http://mirror.example/census.zip")


def test_an_address_that_does_not_answer_gives_way_to_the_next(site: Site) -> None:
    names = Names(["127.0.0.9", "127.0.0.1"])
    with FaultServer("127.0.0.1") as server, Web(site.settings(), resolve=names) as web:
        port = server.netloc.rpartition(":")[2]
        server.serve("census.zip", BODY)

        assert get(web, f"http://mirror.example:{port}/census.zip") == BODY


def test_a_name_that_nobody_knows_is_unreachable(site: Site) -> None:
    def unknown(host: str, port: int) -> Sequence[str]:
        raise OSError("Name or service not known")

    for host in ("mirror.example", "xn--a", "a..example"):
        with (
            Web(site.settings(), resolve=unknown) as web,
            pytest.raises(Unreachable, match=f"^{host}: its name cannot be resolved .Name or"),
        ):
            get(web, f"http://{host}/census.zip")


def test_a_port_that_nobody_listens_on_is_unreachable(site: Site) -> None:
    with FaultServer() as server:
        url = server.serve("census.zip", BODY)

    with (
        Web(site.settings()) as web,
        pytest.raises(Unreachable, match=f"{server.netloc}: cannot be reached .*refused"),
    ):
        get(web, url)


def test_a_list_of_many_hosts_does_not_keep_them_all_open(site: Site) -> None:
    def loopback(host: str, port: int) -> Sequence[str]:
        return ["127.0.0.1"]

    with FaultServer() as server, Web(site.settings(), resolve=loopback) as web:
        port = server.netloc.rpartition(":")[2]
        server.serve("census.zip", BODY)
        for at in range(2 * MAX_KEPT_HOSTS):
            assert get(web, f"http://m{at}.example:{port}/census.zip") == BODY
        until(lambda: server.open <= MAX_KEPT_HOSTS)

        assert server.open == MAX_KEPT_HOSTS


def test_no_secret_of_a_url_is_shown() -> None:
    for url in ("http://me:hush@[::1/x?sig=hush", "http://?sig=hush", "gopher://me:hush@x/"):
        with pytest.raises(Refused) as refused:
            check_url(url)
        assert "hush" not in str(refused.value)


def test_ipv6_sources_are_pulled(site: Site) -> None:
    try:
        server = FaultServer("::1").start()
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")
    try:
        found = site.pull_one(item("census.zip", server.serve("census.zip", BODY)))
    finally:
        server.stop()

    assert found.ok, found.reason


def test_the_centre_alone_gets_the_token_even_at_a_private_address(site: Site) -> None:
    with FaultServer() as centre, FaultServer() as elsewhere:
        away = elsewhere.serve("away", BODY).replace("127.0.0.1", "localhost")
        sources = [
            Source(url=centre.serve("origins/1", BODY), centre=True),
            Source(url=centre.serve("origins/2", fault="redirect", location=away), centre=True),
        ]
        items = [
            item(f"{at}.zip").model_copy(update={"sources": (source,)})
            for at, source in enumerate(sources)
        ]
        base = centre.url("").rstrip("/")

        first, second = site.pull(order(*items), centre_url=base, allow_networks="").items

        assert first.ok
        assert "is not public" in second.reason
        assert [asked.headers["authorization"] for asked in centre.requests] == [
            "Bearer toronto-secret"
        ] * 2

        assert site.pull(order(items[1]), centre_url=base).items[0].ok
        assert "authorization" not in elsewhere.requests[0].headers


@pytest.mark.parametrize("suffix", [".evil.example/x", "-evil/x", ":84/x"])
def test_what_only_looks_like_the_centre_gets_no_token(site: Site, suffix: str) -> None:
    base = "http://centre.example"
    fake = item("census.zip").model_copy(
        update={"sources": (Source(url=base + suffix, centre=True),)}
    )

    (found,) = site.pull(order(fake), centre_url=base).items

    assert "is said to be the centre's but is not below http://centre.example/" in found.reason
    assert (found.fault, found.final) == ("refused", True)


def test_a_site_without_a_token_says_so_and_how_to_get_one(site: Site) -> None:
    with FaultServer() as centre:
        url = centre.serve("origins/1", BODY)
        one = item("census.zip").model_copy(update={"sources": (Source(url=url, centre=True),)})
        base = centre.url("").rstrip("/")

        (found,) = site.pull(order(one), centre_url=base, site_token="").items

    assert "has no token" in found.reason
    assert (found.fault, found.final) == ("local", False)


def test_mirrors_can_tell_who_asks_and_the_environment_has_no_say(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    with FaultServer() as server:
        url = server.serve("census.zip", BODY)

        assert site.pull_one(item("census.zip", url), contact="ops@example.org").ok

        headers = server.requests[0].headers
    assert headers["user-agent"].startswith("DataFleet/")
    assert "ops@example.org" in headers["user-agent"]
    assert headers["accept-encoding"] == "identity"


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("../escape.zip", "begins with a dot"),
        ("a/../../escape.zip", "begins with a dot"),
        ("/etc/passwd", "is absolute or has an empty segment"),
        ("a//b", "is absolute or has an empty segment"),
        (".staging/x", "begins with a dot"),
        ("a\\b", "backslash"),
        ("a\0b", "control character"),
        ("x" * 300, "longer than 255 bytes"),
    ],
)
def test_a_hostile_path_is_refused_and_its_neighbours_arrive(
    site: Site, path: str, reason: str
) -> None:
    with FaultServer() as server:
        url = server.serve("census.zip", BODY)
        bad, good = item(path, url, artifact="bad"), item("good.zip", url)

        first, second = site.pull(order(bad, good)).items

    assert reason in first.reason
    assert (first.fault, first.final) == ("refused", True)
    assert second.ok
    assert site.visible() == ["census/v1/good.zip"]


def test_a_hostile_folder_is_refused(site: Site) -> None:
    (found,) = site.pull(order(item("census.zip"), folder="../../etc")).items

    assert (found.fault, found.final) == ("refused", True)


def test_no_link_in_the_tree_is_followed(site: Site, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    site.file("x").parent.mkdir(parents=True)
    site.file("linked").symlink_to(outside)
    with FaultServer() as server:
        url = server.serve("census.zip", BODY)

        found = site.pull_one(item("linked/census.zip", url))

    assert "linked is a symbolic link" in found.reason
    assert list(outside.iterdir()) == []


def test_two_items_may_not_claim_one_path(site: Site) -> None:
    with FaultServer() as server:
        url = server.serve("census.zip", BODY)
        items = [item("census.zip", url, artifact=name) for name in ("one", "two")]

        first, second = site.pull(order(*items)).items

    assert first.ok
    assert second.reason == "two items of this order claim the path census.zip"
    assert second.final
