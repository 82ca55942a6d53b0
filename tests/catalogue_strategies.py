"""Any dataset that may be catalogued."""

from datetime import UTC, date, datetime

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from fleet.catalogue import item
from fleet.catalogue.entry import Artifact, Dataset, Entry, Mirror, Shard
from fleet.descriptions import Description
from fleet.planning.reading import SEGMENTS, WHOLE
from fleet.planning.states import VersionState
from tests.catalogue_support import SITES

# A busy machine is no failure
unhurried = settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])

_names = st.sampled_from(["a", "A", "b.c", "ca-qc_x", "ca_y", "v0.1.0-beta", "2021", "z" * 133])
_texts = st.text(st.characters(codec="utf-8"), max_size=20)
_lines = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), max_size=20)
_sha256 = st.sampled_from([digit * 64 for digit in "0af"])
_moments = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC))  # noqa: DTZ001
_days = st.dates(date(1, 1, 2))
_degrees = st.floats(-90, 90)
_both = st.fixed_dictionaries({}, optional={"en": _lines, "fr": _lines})
_boxes = st.tuples(st.floats(-180, 180), _degrees, st.floats(-180, 180), _degrees).map(
    lambda box: (box[0], min(box[1], box[3]), box[2], max(box[1], box[3]))
)
_extents = st.tuples(st.none() | _boxes, st.none() | _days, st.none() | _days).map(
    lambda told: {
        "bbox": told[0],
        "start": min(told[1], told[2]) if told[1] and told[2] else told[1],
        "end": max(told[1], told[2]) if told[1] and told[2] else told[2],
    }
)
_creators = st.fixed_dictionaries(
    {"name": st.sampled_from(["Côté", "Statistics Canada", "R & D {50%} and Co_"])},
    optional={
        "given": st.just("Zoë Ann"),
        "orcid": st.just("0000-0002-1825-0097"),
        "ror": st.just("https://ror.org/05k71ja87"),
        "affiliation": st.just("Data for Canada"),
        "url": st.just("https://c.example"),
    },
)
_descriptions = st.fixed_dictionaries(
    {},
    optional={
        "title": _both,
        "summary": st.fixed_dictionaries({}, optional={"en": _texts, "fr": _texts}),
        "keywords": st.fixed_dictionaries(
            {}, optional={"en": st.lists(_lines, max_size=2), "fr": st.lists(_lines, max_size=2)}
        ),
        "licence": st.fixed_dictionaries(
            {}, optional={"id": st.just("CC-BY-4.0"), "url": st.just("https://l.example")}
        ),
        "creators": st.lists(_creators, max_size=3),
        "publisher": _lines,
        "homepage": st.just("https://h.example"),
        "extent": _extents,
    },
).map(Description.model_validate)
_paths = st.lists(_names | _lines.filter(bool), min_size=1, max_size=2).map("/".join)
_artifacts = st.builds(
    Artifact,
    path=_paths,
    size=st.integers(0, 2**50),  # more is no torrent
    sha256=_sha256,
    md5=st.sampled_from(["", "0" * 32]),
    media_type=st.sampled_from(["", "text/csv"]),
    role=st.sampled_from(item.ROLES),
    shard=st.none() | st.integers(0, 2),
    offset=st.none() | st.integers(0, 2**50),
)
_shards = st.builds(
    Shard,
    position=st.integers(0, 2),
    infohash=st.sampled_from([digit * 40 for digit in "0af"]),
    name=_names,
    torrent=st.sampled_from(["", "https://fleet.example/a.torrent"]),
    metalink=st.sampled_from(["", "https://fleet.example/a.meta4"]),
    magnet=st.sampled_from(["", "magnet:?xt=urn:btih:00"]),
)
_mirrors = st.builds(
    Mirror,
    site=st.sampled_from(SITES),
    kind=st.sampled_from(["node", "archive"]),
    root=st.just("https://mirror.example"),
    template=st.sampled_from([f"https://m.example/a{SEGMENTS}", f"https://m.example/{WHOLE}?b=1"]),
    verified_at=st.none() | _moments,
    region=st.sampled_from(["", "ca-east"]),
    country=st.sampled_from(["", "CA"]),
    shards=st.lists(st.integers(0, 2), max_size=2, unique=True).map(tuple),
)
_entries = st.builds(
    Entry,
    label=_names,
    sequence=st.integers(1, 2**62),
    state=st.sampled_from([one for one in VersionState if one != VersionState.DRAFT]),
    published_at=_moments,
    artifacts=st.lists(_artifacts, max_size=3, unique_by=lambda one: one.path).map(tuple),
    licence=st.sampled_from(["", "OGL-Canada-2.0", "Open Government Licence, Vancouver"]),
    licence_retrieved=st.none() | _days,
    doi=st.sampled_from(["", "10.5281/zenodo.15333781"]),
    source=_lines,
    shards=st.lists(_shards, max_size=2, unique_by=lambda one: one.position).map(tuple),
    mirrors=st.lists(_mirrors, max_size=2, unique_by=lambda one: one.site).map(tuple),
)
any_dataset = st.builds(
    Dataset,
    id=_names,
    entries=st.lists(_entries, min_size=1, max_size=2, unique_by=lambda one: one.label).map(tuple),
    description=_descriptions,
    doi=st.sampled_from(["", "10.5281/zenodo.15333780"]),
    centre=st.sampled_from(["", "https://fleet.example.org"]),
)
