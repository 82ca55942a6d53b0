"""What is made of a file and its mirrors when it is asked for: metalink, torrent, magnet link."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from sqlalchemy.exc import SQLAlchemyError
from starlette.responses import Response

from fleet.control import catalogue, redirects, torrents
from fleet.control.editions import Found
from fleet.control.redirects import Alone
from fleet.control.snapshot import Snapshot, Standing
from fleet.planning.facts import Choice
from fleet.planning.redirect import Asker
from fleet.settings import CentreSettings
from fleet.store.database import Store
from fleet.web.metalink import MEDIA_TYPE, Address, Subject, document
from fleet.web.refusals import Refusal, later

METALINK: Final = (catalogue.METALINK, MEDIA_TYPE)
TORRENT: Final = (".torrent", "application/x-bittorrent")
_MAGNET = (".magnet", "text/plain; charset=utf-8")
SUFFIXES: Final = tuple(suffix for suffix, _ in (METALINK, TORRENT, _MAGNET))
_LATER = 60  # seconds; a copy is made or read anew no sooner


@dataclass(frozen=True, slots=True)
class Made:
    """A document and what it is called."""

    body: bytes
    media_type: str
    name: str

    def answer(self, known: str) -> Response:
        """Answer with it, or that it is what the tags in ``known`` are of."""
        tag = f'"{hashlib.sha256(self.body).hexdigest()[:32]}"'
        tags = [one.strip().removeprefix("W/") for one in known.split(",")]
        if tag in tags or "*" in tags:
            return Response(status_code=304, headers={"ETag": tag})
        named = f"attachment; filename*=UTF-8''{quote(self.name, safe='')}"
        headers = {"ETag": tag, "Content-Disposition": named}
        return Response(self.body, headers=headers, media_type=self.media_type)


class Derived:
    """Makes them of the snapshot and, but for a metalink, of the store."""

    def __init__(self, snapshot: Snapshot, store: Store, settings: CentreSettings) -> None:
        """Make them with the trackers that the settings name."""
        self._snapshot, self._store, self._trackers = snapshot, store, settings.trackers

    def make(self, suffix: str, found: Found, asker: Asker, origin: str) -> Made:
        """Make what ``suffix`` names.

        Raises:
            Refusal: it cannot be made, or not now.
        """
        name = found.path.rpartition("/")[2] + suffix
        if suffix == METALINK[0]:
            return Made(self._metalink(found, asker, origin), MEDIA_TYPE, name)
        if not found.infohash:
            raise Refusal(404, "no_torrent", {"name": found.path})
        try:
            with self._store.read() as session:
                if suffix == TORRENT[0]:
                    body = torrents.torrent_file(session, found.infohash, self._trackers)
                    return Made(body, TORRENT[1], name)
                link = torrents.magnet_link(session, found.infohash, self._trackers)
                return Made(link.encode(), _MAGNET[1], name)
        except SQLAlchemyError as error:
            raise later("store_away", _LATER) from error

    def _metalink(self, found: Found, asker: Asker, origin: str) -> bytes:
        standing, alone = self._snapshot.standing, self._alone(found)
        subject = Subject(
            name=found.path.rpartition("/")[2],
            identity=found.edition.dataset,
            version=found.edition.label,
            size=found.size,
            sha256=found.sha256.hex(),
            piece_length=alone.piece_length if alone else 0,
            pieces=alone.pieces if alone else (),
        )
        addresses = [
            Address(standing.url(found, one.site), standing.country(one.site))
            for one in mirrors_of(standing, found, asker)
        ]
        torrent = f"{origin}{address(found)}{TORRENT[0]}" if origin and alone else ""
        return document(subject, addresses, torrent)

    def _alone(self, found: Found) -> Alone | None:
        """Ask for its torrent; while the store is away a metalink goes without."""
        try:
            with self._store.read() as session:
                return redirects.alone(session, found.infohash)
        except SQLAlchemyError:
            return None


def address(found: Found) -> str:
    """Return the path of the address that a file has for good."""
    edition = found.edition
    return quote(f"/d/{edition.dataset}/{edition.label}/{found.path}")


def mirrors_of(standing: Standing, found: Found, asker: Asker) -> Sequence[Choice]:
    """Return a file's mirrors, best first.

    Raises:
        Refusal: it has none now, and why.
    """
    ranking = standing.rank(found, asker)
    if not ranking.used:
        reasons = tuple(f"{one.site}: {one.reason}" for one in ranking.unused)
        raise later("no_mirror", _LATER, {"name": found.path}, reasons)
    return ranking.used
