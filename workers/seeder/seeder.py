"""A site's seeding, kept in step with the centre.

Rules this module keeps:

- What was desired last is on disk, and is seeded before the centre is asked and while it is away.
- An answer is believed only as far as it is sound: a bad list changes nothing, a bad entry or a
  bad torrent only itself.
- A change is told once in the log, and at every poll to the centre.
- A poll or a step of the metering that fails, whyever, is told of and ends nothing: the next one
  comes.
"""

import asyncio
from collections.abc import Mapping
from typing import Final

import structlog

from fleet.messages import DesiredSeeds, Seed, SeedReport, UploadCaps
from workers.seeder.cache import Cache
from workers.seeder.centre import CentreAwayError, Listing, SeedCentre
from workers.seeder.desired import RefusedError, Wanted, admit, read_desired, settle
from workers.seeder.keeper import Keeper
from workers.seeder.uploads import Uploads

AT_ONCE: Final = 8
STEP_SECONDS: Final = 1.0

_log = structlog.get_logger()


class Seeder:
    """What shall be seeded, and how it is going."""

    def __init__(self, cache: Cache, keeper: Keeper, centre: SeedCentre, uploads: Uploads) -> None:
        """Begin with nothing desired."""
        self._cache = cache
        self._keeper = keeper
        self._centre = centre
        self._uploads = uploads
        self._etag = ""
        self._desired = DesiredSeeds(revision="")
        self._caps: UploadCaps | None = None
        self._wanted: dict[str, Wanted] = {}
        self._refused: dict[str, str] = {}
        self._reports: dict[str, SeedReport] = {}
        self._trouble = ""
        self._waiting: list[asyncio.Future[None]] = []
        self._nudged = asyncio.Event()

    @property
    def desired(self) -> Mapping[str, Seed]:
        """What shall be seeded, by infohash."""
        return {seed.infohash: seed for seed in self._desired.seeds}

    @property
    def reports(self) -> Mapping[str, SeedReport]:
        """How each torrent is doing, by infohash, as of the last poll."""
        return self._reports

    @property
    def seeding(self) -> int:
        """How many torrents are being seeded."""
        return sum(report.state == "seeding" for report in self._reports.values())

    @property
    def trouble(self) -> str:
        """Why the last poll of the centre failed; empty if it did not."""
        return self._trouble

    def load(self) -> None:
        """Seed what the cache says; called once, before ``follow``."""
        data = self._cache.desired()
        if data is not None:
            try:
                self._adopt(data)
            except RefusedError as error:
                _log.warning("cache unusable, waiting for the centre", reason=str(error))
        self._apply()

    async def follow(self, seconds: float) -> None:
        """Poll the centre every ``seconds``, and whenever somebody nudges, until cancelled."""
        while True:
            waiting, self._waiting = self._waiting, []
            self._nudged.clear()
            try:
                await self._poll()
            except Exception as error:  # noqa: BLE001 - whatever it is, the next poll may be well
                self._trouble = f"the seeder failed, see its log: {type(error).__name__}: {error}"
                _log.exception("poll failed", reason=str(error))
            for future in waiting:
                if not future.done():
                    future.set_result(None)
            try:
                await asyncio.wait_for(self._nudged.wait(), seconds)
            except TimeoutError:
                continue

    async def meter(self) -> None:
        """Keep the uploads within the caps, second by second, until cancelled."""
        trouble = ""
        while True:
            before, trouble = trouble, ""
            try:
                await asyncio.to_thread(self._uploads.step, self._caps)
            except Exception as error:  # noqa: BLE001 - what was granted last holds until it is well
                trouble = f"{type(error).__name__}: {error}"
                if trouble != before:
                    _log.exception("metering failed", reason=trouble)
            await asyncio.sleep(STEP_SECONDS)

    async def nudge(self) -> None:
        """Poll now; return once a poll that began after this call has been applied."""
        applied: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(applied)
        self._nudged.set()
        await applied

    async def _poll(self) -> None:
        trouble = ""
        try:
            await self._learn()
        except (CentreAwayError, RefusedError) as error:
            trouble = str(error)
        except OSError as error:
            trouble = f"what the centre sent cannot be kept: {error}"
        await asyncio.to_thread(self._apply)
        if not trouble:
            try:
                await self._centre.report(tuple(self._reports.values()), self._uploads.report)
            except (CentreAwayError, RefusedError) as error:
                trouble = str(error)
        if trouble and trouble != self._trouble:
            _log.warning("going on without the centre", reason=trouble, seeding=self.seeding)
        elif self._trouble and not trouble:
            _log.info("in step with the centre again", seeding=self.seeding)
        self._trouble = trouble

    async def _learn(self) -> None:
        """Take over what the centre desires, and fetch the torrents that are new."""
        listing = await self._centre.desired(self._etag)
        if listing is not None:
            await asyncio.to_thread(self._take, listing)
        self._refused = {}
        _, new = settle(self._desired, self._wanted)
        for start in range(0, len(new), AT_ONCE):
            batch = (self._fetch(seed) for seed in new[start : start + AT_ONCE])
            for result in await asyncio.gather(*batch, return_exceptions=True):
                if isinstance(result, BaseException):
                    raise result

    async def _fetch(self, seed: Seed) -> None:
        try:
            data = await self._centre.torrent(seed.infohash)
            await asyncio.to_thread(self._admit, seed, data)
        except RefusedError as error:
            self._refused[seed.infohash] = str(error)

    def _take(self, listing: Listing) -> None:
        self._adopt(listing.data)
        self._cache.keep_desired(listing.data)
        self._cache.forget_all_but(seed.infohash for seed in self._desired.seeds)
        self._etag = listing.etag

    def _adopt(self, data: bytes) -> None:
        """Make a list the desired one, with what is known or cached of its torrents."""
        self._desired, refused = read_desired(data)
        # a list that does not speak of caps says nothing of them
        told = "uploads" in self._desired.model_fields_set
        self._caps = self._desired.uploads if told else None
        for reason in refused:
            _log.warning("refused", reason=reason)
        self._wanted, new = settle(self._desired, self._wanted)
        for seed in new:
            cached = self._cache.torrent(seed.infohash)
            if cached is None:
                continue
            try:
                self._wanted[seed.infohash] = admit(seed, cached)
            except RefusedError as error:
                self._refused[seed.infohash] = str(error)

    def _admit(self, seed: Seed, data: bytes) -> None:
        wanted = admit(seed, data)
        self._cache.keep_torrent(seed.infohash, data)
        self._wanted[seed.infohash] = wanted

    def _apply(self) -> None:
        """Bring the session in line, its caps before its torrents, and tell what has changed."""
        self._uploads.step(self._caps)
        reports = self._keeper.apply(self._wanted, self._cache.torrent)
        for seed in settle(self._desired, self._wanted)[1]:
            reason = self._refused.get(seed.infohash, "its torrent has not been fetched yet")
            state = "refused" if seed.infohash in self._refused else "waiting"
            reports[seed.infohash] = SeedReport(infohash=seed.infohash, state=state, error=reason)
        for infohash, report in reports.items():
            before = self._reports.get(infohash)
            if report.error and (before is None or before.error != report.error):
                _log.warning(
                    "not seeding", infohash=infohash, state=report.state, reason=report.error
                )
            elif before and before.error and not report.error:
                _log.info("seeding again", infohash=infohash)
        self._reports = reports
