"""Web seeds put to proof: each is asked, as clients ask, for a whole piece of the torrent."""

from collections.abc import Sequence

from pydantic import ValidationError

from fleet.control.errors import FleetError
from fleet.messages import Item, Order, Sample, Source
from fleet.settings import SiteSettings
from fleet.torrent.lint import MOST_SEEDS, Finding
from fleet.torrent.parsed import ParsedTorrent
from fleet.torrent.webseeds import file_url, proof
from workers.lease import Lease
from workers.probe import probe

SITE = "torrent"


def probe_seeds(torrent: ParsedTorrent, seeds: Sequence[str]) -> list[Finding]:
    """Ask each web seed for a piece; those that fail are errors, in the order of the seeds.

    Where every piece spans several files, the beginning of one file is asked for, which proves
    that it is there and not what it says; a note says so.

    Raises:
        FleetError: there are too many of them, or the environment's settings are wrong.
    """
    if len(seeds) > MOST_SEEDS:
        raise FleetError(f"{len(seeds)} web seeds are more than the {MOST_SEEDS} that are probed")
    piece = proof(torrent)
    urls = [file_url(seed, piece.path, single=torrent.single) for seed in seeds]
    sample = Sample(start=piece.start, length=piece.length, sha1=piece.sha1)
    items = tuple(
        Item(
            artifact=seed,
            path=piece.path,
            size=piece.size,
            sources=(Source(url=url),),
            sample=sample,
        )
        for seed, url in zip(seeds, urls, strict=True)
    )
    order = Order(attempt=SITE, fence=0, task="probe", site=SITE, lease_seconds=0, items=items)
    found = []
    for url, result in zip(urls, probe(order, Lease(), _settings()).items, strict=True):
        if not result.ok:
            text = f"the web seed fails: {result.reason}; mend it, or reissue the torrent without"
            found.append(Finding("seed-fails", "error", text, result.artifact, url))
        elif piece.sha1 is None:
            text = "the web seed has the file, but every piece spans several files: none was proved"
            found.append(Finding("seed-unproved", "note", text, result.artifact, url))
    return found


def _settings() -> SiteSettings:
    try:
        return SiteSettings(site=SITE)
    except ValidationError as error:
        first = error.errors()[0]
        name = "_".join(str(part) for part in first["loc"]).upper()
        raise FleetError(f"the environment's FLEET_{name}: {first['msg']}") from error
