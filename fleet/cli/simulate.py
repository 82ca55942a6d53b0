"""`fleet simulate`: run policies through a virtual year, and show what came of each."""

import json
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from fleet.cli.text import size as bytes_in_words
from fleet.twin.policy import DEFAULT, NAIVE, Policy, read
from fleet.twin.report import Report, Size, missed, simulate

_WORDS = {
    "version_hours_below_min": "version-hours below min",
    "version_hours_on_one_copy": "version-hours on one copy or none",
    "versions_once_lost": "versions without a whole copy once",
    "hours_to_second_copy": "hours to the second copy, 95 of 100 times",
    "deadlines_met": "deadlines met",
    "repairs": "repairs",
    "repaired_bytes": "  bytes",
    "churn": "churn (needless copies)",
    "churned_bytes": "  bytes",
    "interventions": "interventions of an operator",
    "storage_dollars": "storage, $",
    "egress_dollars": "egress, $",
    "events": "events",
    "ticks": "  ticks of the scheduler",
    "seconds": "seconds it took",
}


def main(size: Size, compare: Sequence[str], *, as_json: bool) -> None:
    """Run two policies, those of ``compare`` or the default and the naive one, and print both."""
    policies = [read(name) for name in compare] or [DEFAULT, NAIVE]
    reports = [_run(policy, size) for policy in policies]
    if as_json:
        print(json.dumps(_as_json(size, policies, reports)))  # noqa: T201 - its last line
    else:
        _show(size, policies, reports)


def _run(policy: Policy, size: Size) -> Report:
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(f"{size.days} days of {policy.name}", total=1.0)
        return simulate(policy, size, lambda share: bar.update(task, completed=share))


def _as_json(size: Size, policies: Sequence[Policy], reports: Sequence[Report]) -> dict[str, Any]:
    first, second = reports
    asked = {"seed": size.seed, "days": size.days, "datasets": size.datasets, "sites": size.sites}
    if policies == [DEFAULT, NAIVE]:
        return {
            **asked,
            **first.as_json(),
            "naive_version_hours_below_min": second.version_hours_below_min,
            "naive": second.as_json(),
            "missed": missed(first, second),
        }
    return {
        **asked,
        "policies": [one.as_json() for one in reports],
        "change": {
            name: round(getattr(second, name) - getattr(first, name), 2)
            for name in _WORDS
            if name not in ("seconds", "events", "ticks")
        },
        "missed": missed(first, None),
    }


def _show(size: Size, policies: Sequence[Policy], reports: Sequence[Report]) -> None:
    first = reports[0]
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column(f"{size.datasets} datasets, {size.sites} sites, {size.days} days")
    for report in reports:
        table.add_column(report.policy, justify="right")
    for name, words in _WORDS.items():
        table.add_row(words, *(_value(report, name) for report in reports))
    for name in first.bytes_by_hour_class:
        cells = (bytes_in_words(report.bytes_by_hour_class[name]) for report in reports)
        table.add_row(f"pulled in {name} hours", *cells)
    console = Console()
    console.print(table)
    happened = ", ".join(f"{name}: {number}" for name, number in first.faults.items())
    console.print(f"What went wrong (fleet/twin/faults.py has the rates): {happened}.")
    for policy in policies:
        console.print(f"{policy.name}: {policy}", highlight=False, markup=False)


def _value(report: Report, name: str) -> str:
    value = getattr(report, name)
    if name == "deadlines_met":
        return f"{value} of {report.deadlines}"
    if name.endswith("bytes"):
        return bytes_in_words(value)
    return f"{value:,}"
