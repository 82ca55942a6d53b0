"""What a seeder believes of what the centre sends: properties of the pure part."""

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.messages import DesiredSeeds, Seed
from tests.seeder_support import PIECE, Shard
from workers.seeder.desired import RefusedError, Wanted, admit, read_desired, settle

SHARD = Shard("ds", {"a": PIECE, "b": 5})
SEED = Seed.model_validate(SHARD.seed())

infohashes = st.sampled_from([f"{index:040x}" for index in range(6)])
seeds = st.builds(
    Seed,
    infohash=infohashes,
    shard=st.just("s"),
    folder=st.sampled_from(["", "ds/v1"]),
    name=st.just("n"),
    size=st.just(1),
)
jsons: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.just(SHARD.seed()),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["revision", "seeds", "infohash", "x"]), inner)
    ),
    max_leaves=8,
)


@given(st.binary(max_size=40) | jsons.map(lambda value: json.dumps(value).encode()))
def test_no_list_raises_anything_but_a_refusal(data: bytes) -> None:
    with contextlib.suppress(RefusedError):
        desired, refused = read_desired(data)
        assert len({seed.infohash for seed in desired.seeds}) == len(desired.seeds)
        assert all("\n" not in reason for reason in refused)


@given(st.lists(seeds, max_size=8), st.lists(jsons, max_size=3), st.randoms(use_true_random=False))
def test_sound_entries_survive_bad_ones(good: list[Seed], bad: list[Any], random: Any) -> None:
    entries = [seed.model_dump() for seed in good] + bad
    random.shuffle(entries)
    data = json.dumps({"revision": "r", "seeds": entries}).encode()
    desired, refused = read_desired(data)
    assert {seed.infohash for seed in desired.seeds} >= {seed.infohash for seed in good}
    assert len(desired.seeds) + len(refused) == len(entries)


def test_a_list_of_another_release_is_refused_by_its_field() -> None:
    with pytest.raises(RefusedError, match="priority: Extra inputs"):
        read_desired(b'{"revision": "r", "priority": 1}')
    with pytest.raises(RefusedError, match="revision: Field required"):
        read_desired(b"{}")


@given(st.lists(seeds, unique_by=lambda seed: seed.infohash), st.lists(seeds))
def test_settling_splits_what_is_desired_into_known_and_new(
    desired: list[Seed], before: list[Seed]
) -> None:
    known = {seed.infohash: Wanted(seed, ()) for seed in before}
    kept, new = settle(DesiredSeeds(revision="r", seeds=tuple(desired)), known)
    assert {wanted.seed for wanted in kept.values()} | set(new) == set(desired)
    assert not {wanted.seed for wanted in kept.values()} & set(new)
    assert all(known[infohash] is wanted for infohash, wanted in kept.items())
    assert not set(new) & {wanted.seed for wanted in known.values()}


def test_a_sound_torrent_is_admitted_with_its_files() -> None:
    assert admit(SEED, SHARD.torrent) == Wanted(SEED, (("ds/v1/a", PIECE), ("ds/v1/b", 5)))


@given(
    st.binary(max_size=30)
    | st.integers(0, len(SHARD.torrent) - 1).map(lambda end: SHARD.torrent[:end])
)
def test_no_torrent_raises_anything_but_a_refusal(torrent: bytes) -> None:
    with pytest.raises(RefusedError):
        admit(SEED, torrent)


def test_another_torrent_is_refused() -> None:
    other = Shard("ds", {"a": PIECE, "b": 6})
    with pytest.raises(RefusedError, match=f"{other.infohash} in its place"):
        admit(SEED, other.torrent)
    with pytest.raises(RefusedError, match="not 'x' of"):
        admit(SEED.model_copy(update={"name": "x"}), SHARD.torrent)
