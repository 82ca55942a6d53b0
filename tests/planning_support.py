"""Hypothesis strategies for the plain values that decisions are made from."""

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st

from fleet.planning.facts import ReplicaFacts, RuleFacts, SiteFacts
from fleet.planning.states import ReplicaState

unhurried = settings(deadline=None, max_examples=50)  # a busy machine is no failure
SITES = ("amsterdam", "montreal", "netcup", "r2", "toronto", "zenodo")
SPREADS = ("jurisdiction", "country", "region", "operator", "provider")
_few = st.sampled_from(["", "ca", "de", "US"])

selectors = st.sampled_from(
    [
        "",
        "kind=node",
        "kind!=node",
        "country=CA | trusted=true",
        "!(jurisdiction=us & operator=ca)",
        "id=toronto | id=r2 | id=zenodo",
        "id=nobody",
    ]
)
rules = st.builds(
    RuleFacts,
    copies=st.none() | st.integers(1, 5),
    min_copies=st.integers(1, 5),
    selector=selectors,
    spread_by=st.lists(st.sampled_from(SPREADS), unique=True, max_size=2).map(tuple),
)


@st.composite
def sites(draw: st.DrawFn) -> list[SiteFacts]:
    """A few sites, each of its own name, in any order."""
    names = draw(st.lists(st.sampled_from(SITES), unique=True, max_size=len(SITES)))
    return [draw(_site(name)) for name in names]


def _site(name: str) -> st.SearchStrategy[SiteFacts]:
    return st.builds(
        SiteFacts,
        id=st.just(name),
        kind=st.sampled_from(["node", "node", "node", "archive", "object_store"]),
        driver=st.sampled_from(["posix", "posix", "posix", "tape"]),
        region=_few,
        country=_few,
        jurisdiction=_few,
        operator=_few,
        provider=_few,
        trusted=st.booleans(),
        retired=st.sampled_from([False, False, False, True]),
        silent=st.sampled_from([False, False, True]),
        fronts=st.lists(st.sampled_from(SITES), unique=True, max_size=1).map(
            lambda others: tuple(other for other in others if other != name)
        ),
        free=st.none() | st.integers(0, 300),
        queued=st.integers(0, 300),
        speed_mbps=st.none() | st.integers(1, 10_000),
    )


replicas = st.lists(
    st.builds(ReplicaFacts, st.sampled_from(SITES), st.sampled_from(list(ReplicaState))),
    unique_by=lambda replica: replica.site,
    max_size=len(SITES),
)


def site(name: str, **details: Any) -> SiteFacts:
    """A node that can be written to."""
    return SiteFacts(**{"id": name, "kind": "node", "driver": "posix"} | details)
