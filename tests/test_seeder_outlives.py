"""What nobody foresaw is told in the log, and the seeder goes on."""

import asyncio
from collections.abc import Awaitable
from datetime import UTC, datetime
from pathlib import Path

import structlog
from structlog.typing import EventDict

from tests.seeder_support import eventually, site
from workers.seeder.cache import Cache
from workers.seeder.centre import SeedCentre
from workers.seeder.keeper import Keeper
from workers.seeder.seeder import Seeder
from workers.seeder.session import Discovery, Session
from workers.seeder.tally import Tally
from workers.seeder.uploads import Uploads


async def _meet(tmp_path: Path, log: list[EventDict], event: str) -> tuple[bool, str]:
    """Run a seeder whose session has gone until it says ``event``; whether it went on."""
    settings = site(tmp_path)
    settings.state.mkdir(parents=True)
    session = Session("127.0.0.1:0", Discovery())
    uploads = Uploads(session, None, Tally(settings.state / "uploads.json", datetime.now(UTC)))
    async with SeedCentre(settings) as centre:
        keeper = Keeper(settings.store_root, session)
        seeder = Seeder(Cache(settings.state / "seeds"), keeper, centre, uploads)
        session.close()
        runs: Awaitable[None] = seeder.meter() if "meter" in event else seeder.follow(0.01)
        task = asyncio.ensure_future(runs)
        said = lambda: [line for line in log if line["event"] == event]  # noqa: E731
        await asyncio.to_thread(eventually, said, event)
        if "poll" in event:
            await seeder.nudge()
        went_on = not task.done()
        task.cancel()
        return went_on, seeder.trouble


def test_a_step_of_the_metering_that_fails_does_not_end_the_seeder(tmp_path: Path) -> None:
    with structlog.testing.capture_logs() as log:
        assert asyncio.run(_meet(tmp_path, log, "metering failed"))[0]
    assert "AttributeError" in log[0]["reason"]


def test_a_poll_that_fails_is_told_to_whoever_nudged_and_others_follow(tmp_path: Path) -> None:
    with structlog.testing.capture_logs() as log:
        went_on, trouble = asyncio.run(_meet(tmp_path, log, "poll failed"))
    assert went_on
    assert "the seeder failed, see its log: AttributeError" in trouble
