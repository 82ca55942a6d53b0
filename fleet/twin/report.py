"""What came of a simulated year, as plain values."""

import gc
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from fleet.twin import traffic
from fleet.twin.policy import Policy
from fleet.twin.twin import Twin, twin

# figure: wanted at most; the issue that asked for the twin says so
WANTED_MOST = {"seconds": 120.0, "version_hours_below_min": 0.0}


@dataclass(frozen=True, slots=True)
class Size:
    """How large a twin is, and what chance it is given."""

    seed: int = 1
    days: int = 365
    datasets: int = 1000
    sites: int = 12


@dataclass(frozen=True, slots=True)
class Report:
    """One policy's figures.

    Attributes:
        policy: its name.
        seconds: of real time that the run took; all else follows from the seed.
        events: what happened, one by one: arrivals, faults, ends of work, heartbeats, ticks.
        ticks: of these, those of the scheduler.
        versions: that were published.
        version_hours_below_min: hours, summed over versions and counted from each one's
            publication, in which fewer copies than the rule's ``min`` were whole.
        version_hours_on_one_copy: the same for fewer than two, first copies included.
        versions_once_lost: of which no whole copy was left anywhere for a while; what its
            origin still had was fetched anew.
        hours_to_second_copy: from publication, at the 95th percentile of versions; one that never
            got a second copy counts with the hours until the end.
        bytes_by_hour_class: pulled, by how busy the pulling site was with others' traffic.
        deadlines: datasets with a deadline that came within the run.
        deadlines_met: of these, those that had all their copies in time.
        repairs: copies made again after a version had all of them, and what they weighed.
        churn: copies made where as many as the rule asks for were whole already.
        interventions: what the operator had to do: sites replaced, suspended work let go on.
        storage_dollars: what the sites' providers charge for what was kept.
        egress_dollars: and for what was sent.
        faults: what went wrong, by kind; what met nobody is left out.
        work: orders carried out, by task.
    """

    policy: str
    seconds: float
    events: int
    ticks: int
    versions: int
    version_hours_below_min: float
    version_hours_on_one_copy: float
    versions_once_lost: int
    hours_to_second_copy: float
    bytes_by_hour_class: dict[str, int]
    deadlines: int
    deadlines_met: int
    repairs: int
    repaired_bytes: int
    churn: int
    churned_bytes: int
    interventions: int
    storage_dollars: float
    egress_dollars: float
    faults: dict[str, int]
    work: dict[str, int]

    def as_json(self) -> dict[str, Any]:
        """Return it ready for JSON."""
        return asdict(self)


def simulate(policy: Policy, size: Size, progress: Callable[[float], None]) -> Report:
    """Run a policy; ``progress`` is told the share of the time that has passed."""
    began = time.monotonic()
    with twin(policy, seed=size.seed, days=size.days) as one:
        gc.collect()
        gc.freeze()  # what is there now stays: looking through it again and again takes a tenth
        try:
            one.fill(size.datasets, size.sites)
            one.run(progress)
        finally:
            gc.unfreeze()
        return _report(one, time.monotonic() - began)


def missed(report: Report, naive: Report | None) -> list[str]:
    """Name the figures that are not what is wanted of them."""
    names = [name for name, most in WANTED_MOST.items() if getattr(report, name) > most]
    if naive is not None and not naive.version_hours_below_min > 0:
        names.append("naive_version_hours_below_min")
    return names


def _report(one: Twin, seconds: float) -> Report:
    truth, hands = one.truth, one.hands
    held = list(truth.held.values())
    dated = [version for version in held if version.deadline and version.deadline <= one.now]
    late_drafts = sum(1 for _, by in one.drafts.values() if by is not None and by <= one.now)
    return Report(
        policy=one.policy.name,
        seconds=round(seconds, 1),
        events=one.events,
        ticks=one.ticks,
        versions=len(held),
        version_hours_below_min=round(truth.hours_below(one.policy.min), 1),
        version_hours_on_one_copy=round(truth.hours_below(2), 1),
        versions_once_lost=sum(0 in version.hours for version in held),
        hours_to_second_copy=round(_percentile(truth.to_second(one.now), 0.95), 1),
        bytes_by_hour_class={name: hands.moved[name] for name in traffic.CLASSES},
        deadlines=len(dated) + late_drafts,
        deadlines_met=sum(v.full is not None and v.full <= (v.deadline or v.full) for v in dated),
        repairs=truth.repairs,
        repaired_bytes=truth.repaired_bytes,
        churn=truth.needless,
        churned_bytes=truth.needless_bytes,
        interventions=one.interventions,
        storage_dollars=round(truth.storage_cost, 2),
        egress_dollars=round(hands.egress_cost, 2),
        faults={**one.happened, "corrupted copy": truth.corrupted},
        work=dict(sorted(hands.jobs.items())),
    )


def _percentile(values: Sequence[float], share: float) -> float:
    return sorted(values)[int(share * (len(values) - 1))] if values else 0.0
