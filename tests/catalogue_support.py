"""Datasets to be catalogued, like those that Data for Canada holds."""

import hashlib
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from fleet.catalogue import item
from fleet.catalogue.entry import Artifact, Dataset, Entry, Mirror, Shard
from fleet.catalogue.item import Listing
from fleet.catalogue.listing import write_list
from fleet.descriptions import Description
from fleet.planning.reading import SEGMENTS
from fleet.planning.states import VersionState

Json = dict[str, Any]

BASE = "https://fleet.example.org/catalogue"
SITES = (
    *("amsterdam", "backblaze-ca-east", "internet-archive", "r2-east", "r2-west", "source-coop"),
    *("tigris-fra", "tigris-iad", "tigris-nrt", "toronto", "virginia", "zenodo"),
)
_REGIONS = ("ca", "ca-ab", "ca-bc", "ca-on", "ca-qc", "us-wa")
_PACKAGES = ("address", "boundaries", "buildings", "orthoimagery", "roads")


def sample(number: int, versions: int = 10) -> Dataset:
    """The dataset with a number: one file and its manifest in each version, at a few sites."""
    lot = random.Random(number)
    name = (
        f"{lot.choice(_REGIONS)}_statcan-{2000 + number % 26}A0005{number:08}_d4c-datapkg-"
        f"{lot.choice(_PACKAGES)}_{2000 + number % 26}_{lot.randrange(50, 1000):03}mm"
    )
    began = datetime(2020, 1, 1, tzinfo=UTC) + timedelta(minutes=lot.randrange(10**6))
    entries = tuple(
        _entry(lot, name, one, began + timedelta(days=90 * one), newest=one == versions - 1)
        for one in range(versions)
    )
    return Dataset(name, entries, _described(number), f"10.5281/zenodo.{19220388 + number}")


def _described(number: int) -> Description:
    return Description.model_validate(
        {
            "title": {"en": f"Data package {number}", "fr": f"Paquet de données {number}"},
            "summary": {
                "en": "What is known of a region, as its government published it.\n\nAs it came.",
                "fr": "Ce que l’on sait d’une région, tel que son gouvernement l’a publié.",
            },
            "creators": [{"name": "Statistics Canada", "url": "https://www.statcan.gc.ca"}],
            "publisher": "Data for Canada",
            "licence": {"id": "OGL-Canada-2.0", "url": "https://open.canada.ca/en/licence"},
            "keywords": {"en": ["open data", "Canada"], "fr": ["données ouvertes", "Canada"]},
        }
    )


def _entry(lot: random.Random, dataset: str, number: int, at: datetime, *, newest: bool) -> Entry:
    label, size = f"v0.{number}.0", lot.randrange(10**6, 27 * 10**9)
    path, infohash = f"{dataset}_{label}.pmtiles", _hex(lot, 40)
    artifacts = (
        Artifact(
            "manifest.json", 2_048, _hex(lot, 64), "", "application/json", "manifest", 0, size
        ),
        Artifact(path, size, _hex(lot, 64), _hex(lot, 32), "application/vnd.pmtiles", "data", 0, 0),
    )
    api = "https://fleet.example.org/api/v1"
    link = f"magnet:?xt=urn:btih:{infohash}&dn={dataset}&xl={size + 2_048}"
    torrent = f"{api}/torrents/{infohash}.torrent"
    return Entry(
        label=label,
        sequence=number + 1,
        state=VersionState.PUBLISHED if newest else VersionState.SUPERSEDED,
        published_at=at,
        artifacts=artifacts,
        licence="OGL-Canada-2.0",
        licence_retrieved=at.date(),
        doi=f"10.5281/zenodo.{lot.randrange(10**7, 10**8)}",
        source=f"https://origin.example.org/{dataset}.txt",
        shards=(Shard(0, infohash, dataset, torrent, "", link),),
        mirrors=tuple(_mirror(site, dataset, label, at) for site in _some(lot)),
    )


def _some(lot: random.Random) -> list[str]:
    return sorted(lot.sample(SITES, lot.randrange(2, 6)))


def _mirror(site: str, dataset: str, label: str, at: datetime) -> Mirror:
    root = f"https://{site}.example.org/dataforcanada"
    kind = "node" if site in {"amsterdam", "toronto", "virginia"} else "object_store"
    return Mirror(site, kind, root, f"{root}/{dataset}/{label}{SEGMENTS}", at, "ca-east", "CA")


def _hex(lot: random.Random, digits: int) -> str:
    return f"{lot.getrandbits(4 * digits):0{digits}x}"


def listing(entry: Entry) -> Listing:
    """The list of a version's files, as an Item refers to it."""
    data = write_list(entry)
    return Listing(len(data), hashlib.sha256(data).hexdigest())


def items_of(*datasets: Dataset) -> list[Json]:
    """The Items of all versions of some datasets."""
    return [one for dataset in datasets for one in item.items(dataset, BASE, listing)]


def sites_of(*datasets: Dataset) -> list[str]:
    """The sites where any file of some datasets lies."""
    entries = (entry for dataset in datasets for entry in dataset.entries)
    return sorted({mirror.site for entry in entries for mirror in entry.mirrors})


def by_id(*datasets: Dataset) -> Iterator[tuple[str, Dataset]]:
    """Datasets as an edition takes them."""
    yield from sorted(((one.id, one) for one in datasets), key=lambda pair: pair[0])
