"""Tables for the terminal."""

import re
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from fleet.cli.text import clean, size

_GOOD = frozenset({"available", "published", "done", "known", "succeeded", "verified", "listed"})
_MOMENT = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d(:\d\d)?) UTC")
_BAD = frozenset({"excluded", "suspended", "unsatisfiable", "bad", "missing", "failed", "refused"})


def show_why(answer: dict[str, Any]) -> None:
    """Print the causes, one a row, the reason wrapped."""
    table = _table("what", "state", "why")
    for cause in answer["causes"]:
        since = f", since {_local(cause['since'])}" if cause["since"] else ""
        again = f" (looked at again {_local(cause['again'])})" if cause["again"] else ""
        state = Text(cause["state"], style=_style(cause["state"]))
        reason = _in_local_time(clean(cause["reason"]))
        table.add_row(Text(clean(cause["thing"])), state, Text(reason + since + again))
    console = Console()
    console.print(table)
    if answer["more"]:
        console.print(f"and {answer['more']} more")


def show_status(data: dict[str, Any]) -> None:
    """Print datasets and sites."""
    table = _table("dataset", "version", "state", "files", "size", "copies")
    for one in data["datasets"]:
        done = one["progress"]
        table.add_row(
            one["id"],
            one["version"],
            Text(done["state"], style=_style(done["state"])),
            f"{done['known']}/{done['artifacts']}",
            size(done["bytes_known"]),
            f"{done['replicas_available']}/{done['replicas_wanted']}",
        )
    Console().print(table)
    show_sites(data["sites"])


def show_traffic(data: dict[str, Any]) -> None:
    """Print sites with their next window, and providers with how they answer."""
    table = _table("site", "next window", "why these hours", "alike", "weeks")
    for one in data["sites"]:
        week, ahead = one["usual"] or {}, one["upcoming"]
        window = f"{_local(ahead[0]['opens'])} to {_local(ahead[0]['closes'])}" if ahead else ""
        table.add_row(
            one["site"],
            window,
            Text(clean(one["reason"]), style="red" if one["doubt"] else ""),
            _alike(week.get("confidence")),
            str(week.get("weeks", 0)),
        )
    Console().print(table)
    if not data["providers"]:
        return
    table = _table("provider", "answers in", "alike", "weeks", "too much")
    for one in data["providers"]:
        week = one["usual"] or {}
        hours = week.get("hour_of_week", ())
        mean = f"{sum(hours) / len(hours):,.0f} ms" if hours else ""
        cells = mean, _alike(week.get("confidence")), str(week.get("weeks", 0))
        table.add_row(clean(one["host"]), *cells, str(one["throttled"]))
    Console().print(table)


def _alike(confidence: float | None) -> str:
    return "" if confidence is None else f"{confidence:.2f}"


def show_sites(sites: list[dict[str, Any]]) -> None:
    """Print sites and what they hold."""
    table = _table("site", "kind", "country", "provider", "copies", "held", "health")
    for one in sites:
        table.add_row(
            one["id"],
            one["kind"],
            one["country"],
            one["provider"],
            str(one["available"]),
            size(one["bytes"]),
            Text(
                clean(one["incident"]) or "no known fault", style="red" if one["incident"] else ""
            ),
        )
    Console().print(table)


def show_adopted(torrents: list[dict[str, Any]]) -> None:
    """Print torrents that others made, and what became of them."""
    table = _table("torrent", "version", "state", "why", "infohash")
    for one in torrents:
        table.add_row(
            Text(clean(one["name"])),
            Text(clean(f"{one['dataset']} {one['version']}")),
            Text(one["state"], style=_style(one["state"])),
            Text(clean(one["reason"])),
            one["infohash"],
        )
    Console().print(table)


def show_publications(data: list[dict[str, Any]]) -> None:
    """Print a version's records, by their DOIs, and what those wait for that are not published."""
    table = _table("site", "state", "record", "why")
    for one in data:
        again = f" (looked at again {_local(one['look_at'])})" if one["look_at"] else ""
        table.add_row(
            one["site"],
            Text(one["state"], style=_style(one["state"])),
            one["doi"] or one["url"],
            Text(_in_local_time(clean(one["reason"])) + again),
        )
    Console().print(table)


def show_figures(data: list[dict[str, Any]]) -> None:
    """Print what the tracker counts, one torrent a row."""
    table = _table("torrent", "seeds", "leechers", "downloads")
    for one in data:
        table.add_row(*(str(value) for value in one.values()))
    console = Console()
    console.print(table)
    console.print("a floor: who does not announce is not counted, a partial seed is a leecher")


def _table(*titles: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in titles:
        numeric = title in {"files", "size", "copies", "held", "seeds", "leechers", "downloads"}
        table.add_column(
            title, justify="right" if numeric else "left", overflow="fold", no_wrap=numeric
        )
    return table


def _style(state: str) -> str:
    return "green" if state in _GOOD else "red" if state in _BAD else ""


def _in_local_time(reason: str) -> str:
    """Write the moments within a reason, which is kept in UTC, in the reader's own zone."""

    def local(found: re.Match[str]) -> str:
        moment = datetime.fromisoformat(found[1]).replace(tzinfo=UTC).astimezone()
        return f"{moment:%Y-%m-%d %H:%M:%S %Z}" if found[2] else f"{moment:%Y-%m-%d %H:%M %Z}"

    return _MOMENT.sub(local, reason)


def _local(moment: Any) -> str:
    """Write a moment in the reader's own zone, which is named."""
    return f"{moment.astimezone():%Y-%m-%d %H:%M:%S %Z}"
