"""When a site may carry bulk traffic."""

from collections.abc import Iterable
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

from fleet.planning.facts import Wait, WindowFacts


def wait_for(windows: Iterable[WindowFacts], now: datetime) -> Wait | None:
    """Say how long bulk traffic must wait; None when a window is open or there are none.

    A window's local times are mapped to UTC day by day, so a change of the clocks moves it with
    the people whose quiet hours it stands for.
    """
    openings: list[tuple[datetime, WindowFacts]] = []
    for window in windows:
        for opens, closes in spans(window, now):
            if opens <= now < closes:
                return None
            if opens > now:
                openings.append((opens, window))
    if not openings:
        return None
    until, window = min(openings, key=lambda opening: opening[0])
    return Wait(f"waits for the quiet hours from {window.opens} ({window.timezone})", until)


def spans(window: WindowFacts, now: datetime) -> Iterable[tuple[datetime, datetime]]:
    """List when a window opens and closes around ``now``, in UTC, from yesterday's on.

    It ends two days ahead: a change of the clocks may skip tomorrow's.
    """
    zone = ZoneInfo(window.timezone)
    opens, closes = time.fromisoformat(window.opens), time.fromisoformat(window.closes)
    today = now.astimezone(zone).date()
    for day in (today + timedelta(days=offset) for offset in (-1, 0, 1, 2)):
        last = day if closes > opens else day + timedelta(days=1)
        yield (
            datetime.combine(day, opens, zone).astimezone(UTC),
            datetime.combine(last, closes, zone).astimezone(UTC),
        )
