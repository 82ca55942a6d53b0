"""The tracker's allow-list: the torrents that sites of the fleet shall seed, and no others.

Rules this module keeps:

- The list follows from the catalogue alone, and is written only when it differs.
- A reader sees the old list or the new one, never a part: it is written beside and renamed.
- The file is never empty: opentracker takes an empty one for missing and keeps its old list.
"""

from pathlib import Path
from typing import Final

from sqlmodel import col, select

from fleet.planning.states import AliasState, VersionState
from fleet.store import holdings
from fleet.store.database import Store
from fleet.store.tables import Replica, Shard, Site, TorrentAlias, Version

_HEAD: Final = "# Written by `fleet tracker`\n"


def allowed(store: Store) -> list[str]:
    """Return the infohashes that some site shall seed, those of aliases too, sorted."""
    with store.read() as session:
        own = session.exec(
            select(Shard.infohash)
            .join(Replica, col(Replica.shard_id) == col(Shard.id))
            .join(Version, col(Version.id) == col(Shard.version_id))
            .join(Site, col(Site.id) == col(Replica.site_id))
            .where(
                col(Replica.state).in_(holdings.SEEDED),
                col(Shard.infohash).is_not(None),
                Version.state != VersionState.WITHDRAWN,
                col(Site.retired).is_(False),
            )
            .distinct()
        ).all()
        aliases = session.exec(
            select(TorrentAlias.infohash, Shard.infohash)
            .join(Shard, col(Shard.id) == col(TorrentAlias.shard_id))
            .where(TorrentAlias.state == AliasState.VERIFIED)
        ).all()
    seeded = {infohash for infohash in own if infohash is not None}
    return sorted(seeded | {infohash for infohash, of in aliases if of in seeded})


def keep_list(store: Store, path: Path) -> bool:
    """Bring the allow-list at ``path`` in step with the catalogue; whether it changed.

    It holds one infohash a line, in hex.

    Raises:
        OSError: it cannot be read or written.
    """
    text = _HEAD + "".join(f"{infohash}\n" for infohash in allowed(store))
    if path.exists() and path.read_text(encoding="ascii") == text:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f"{path.name}.new")
    fresh.write_text(text, encoding="ascii")
    # whom opentracker runs as may be another user than this one
    fresh.chmod(0o644)
    fresh.replace(path)
    return True
