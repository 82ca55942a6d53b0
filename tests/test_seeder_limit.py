"""What a session may send while nothing may be uploaded."""

from pathlib import Path

from tests.seeder_support import PIECE, Shard
from workers.seeder.session import MESSAGES, Discovery, Session


def test_a_session_that_fetches_is_never_starved_of_its_requests(tmp_path: Path) -> None:
    session = Session("127.0.0.1:0", Discovery())
    shard = Shard("census", {"a.bin": PIECE})

    def rate() -> int:
        session.limit(None)
        session.limit(0)
        return int(session._session.get_settings()["upload_rate_limit"])

    try:
        starved = rate()
        session.fetch(shard.infohash, shard.torrent, tmp_path, (), [True])
        fetching = rate()
        session.end_fetch(shard.infohash)
        assert (starved, fetching, rate()) == (1, MESSAGES, 1)
    finally:
        session.close()
