"""Which web seeds are used when: decisions that hold whatever happens to them."""

from hypothesis import given
from hypothesis import strategies as st

from fleet.messages import Source
from workers.pull.tally import Tallies
from workers.seeder.webseeds import (
    AT_ONCE,
    LIES,
    LONGEST_WAIT,
    MAX_URL,
    MOST,
    TRIES,
    choose,
    web_seeds,
)

URLS = [f"http://{host}.example/{at}" for at in range(2) for host in "abc"] + [
    "https://a.example/x",
    "http://a.example:8080/x",
]
HAPPENED = st.lists(
    st.tuples(
        st.sampled_from(["came", "failed", "lied", "refused", "nothing"]),
        st.integers(0, len(URLS) - 1),
        st.floats(0, 100),
    ),
    max_size=60,
)


@given(HAPPENED)
def test_nobody_is_used_who_rests_or_is_out_and_one_of_a_host_at_a_time(
    happened: list[tuple[str, int, float]],
) -> None:
    seeds, now = web_seeds(URLS), 0.0
    lies: dict[str, int] = {}
    for what, at, later in happened:
        now += later
        seed = seeds[at]
        if what == "came":
            seed.came(16384)
        elif what == "failed":
            seed.failed("503", now)
        elif what == "lied":
            seed.lied("piece 1", now)
            lies[seed.url] = lies.get(seed.url, 0) + 1
        elif what == "refused":
            seed.refuse("not public")
        if what in {"failed", "lied", "refused"}:
            assert seed not in choose(seeds, now, {})
        if what in {"failed", "lied"}:
            assert now < seed.ready_at <= now + LONGEST_WAIT
        chosen = choose(seeds, now, {})
        assert len(chosen) <= AT_ONCE
        assert len({one.place for one in chosen}) == len(chosen)
        assert not any(one.out or one.ready_at > now for one in chosen)
        assert not any(lies.get(one.url, 0) >= LIES for one in chosen)
        # nobody idle is passed over while there is room for another host
        ready = {one.place for one in seeds if not one.out and one.ready_at <= now}
        assert len(chosen) == min(AT_ONCE, len(ready))


def test_failures_without_a_byte_end_it_and_a_byte_forgives_them() -> None:
    (seed,) = web_seeds(["http://a.example/x"])
    for _ in range(TRIES - 1):
        seed.failed("503 Service Unavailable", 0.0)
    assert not seed.out
    seed.came(1)
    for _ in range(TRIES - 1):
        seed.failed("503 Service Unavailable", 0.0)
    assert not seed.out
    seed.failed("503 Service Unavailable", 0.0)
    assert seed.out
    assert seed.error == "503 Service Unavailable"


def test_each_failure_makes_it_rest_longer() -> None:
    (seed,) = web_seeds(["http://a.example/x"])
    rests = []
    for _ in range(TRIES):
        seed.failed("429", 0.0)
        rests.append(seed.ready_at)
    # each wait is half of its own to all of it, and doubles
    assert all(0.5 * 2**at <= rest <= 2**at for at, rest in enumerate(rests))


def test_bytes_do_not_forgive_a_lie() -> None:
    (seed,) = web_seeds(["http://a.example/x"])
    for _ in range(LIES):
        assert not seed.out
        seed.came(1 << 30)
        seed.lied("piece 7 does not match", 0.0)
    assert seed.out
    assert choose([seed], 1e9, {}) == []
    assert seed.evidence == "piece 7 does not match"


def test_what_is_no_web_address_is_left_out() -> None:
    bad = ["", "ftp://a/x", "http://", "http:///x", "http://a:99999/", "http://[::1/", "x" * 50]
    bad += ["http://a/\n", "http://a/" + "x" * MAX_URL]
    assert web_seeds(bad) == []
    assert len(web_seeds([f"http://a/{at}" for at in range(100)])) == MOST
    assert web_seeds(["http://A/x", "http://A/x"])[0].place == ("a", 80)
    assert web_seeds(["https://[2001:db8::1]/"])[0].place == ("2001:db8::1", 443)


def test_of_several_hosts_at_one_address_one_is_used_at_a_time() -> None:
    seeds = web_seeds([f"http://{host}.example/x" for host in "abc"])
    shared, own = ("192.0.2.1", 80), ("192.0.2.2", 80)
    at = {seeds[0].url: {shared}, seeds[1].url: {shared, own}, seeds[2].url: {("192.0.2.3", 80)}}
    assert choose(seeds, 0.0, at) == [seeds[0], seeds[2]]
    seeds[0].failed("503", 0.0)
    assert choose(seeds, 0.0, at) == [seeds[1], seeds[2]]


def test_who_comes_back_from_a_failure_takes_no_better_ones_place() -> None:
    seeds = web_seeds([f"http://a.example/{name}" for name in "xyz"])
    seeds[0].lied("piece 1", 0.0)
    seeds[1].failed("503", 0.0)
    assert choose(seeds, LONGEST_WAIT, {}) == [seeds[2]]
    seeds[2].refuse("not public")
    assert choose(seeds, LONGEST_WAIT, {}) == [seeds[1]]


def test_wrong_bytes_that_may_be_anothers_are_no_evidence_and_end_it_all_the_same() -> None:
    (seed,) = web_seeds(["http://a.example/x"])
    for _ in range(LIES):
        seed.doubted("one of two", 0.0)
    assert (seed.out, seed.evidence) == (True, "")


def test_a_web_seed_is_the_site_whose_sources_begin_with_it_and_not_its_hosts_other_one() -> None:
    sources = [
        Source(url=f"https://gate.example/{site}/census/v1/a.bin", site=site) for site in ("x", "y")
    ]
    tallies = Tallies()
    base = "https://gate.example"
    assert tallies.beside(f"{base}/y/", sources).site == "y"
    assert tallies.beside(f"{base}/y/census/v1/a.bin", sources).site == "y"
    assert tallies.beside(f"{base}/z/", sources).site is None
    assert tallies.beside(f"{base}/", sources).site is None
