"""The node that stages when a benchmark measures it: `python -m benchmarks.stager`.

It carries the order of a ``Job`` out for a bucket (see ``jobs``).
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.child import peak_memory
from benchmarks.engine import STALL_SECONDS
from benchmarks.jobs import answer
from fleet.messages import Order
from fleet.settings import SiteSettings
from workers.lease import Lease
from workers.stage import stage
from workers.storage.s3 import Bucket, Keys, Place

AGENT = "Fleet/benchmark"


@dataclass(frozen=True)
class Job:
    """An order for a bucket, and how much room its node lends."""

    order: Mapping[str, Any]
    home: str
    scratch: int
    endpoint: str
    bucket: str
    key_id: str
    secret: str


@dataclass(frozen=True)
class Report:
    """What came of it; ``failed`` has the reasons by artifact."""

    seconds: float
    cpu_seconds: float
    peak_memory_mb: float
    bytes_fetched: int
    failed: dict[str, str]


def main() -> None:
    """Do one job."""
    answer(lambda told: _do(Job(**told)))


def _do(job: Job) -> Report:
    settings = SiteSettings(
        site="here",
        home=Path(job.home),
        allow_networks="127.0.0.0/8",
        stall_seconds=STALL_SECONDS,
        scratch_bytes=job.scratch,
        bulk_slots=1,
    )
    place = Place(job.endpoint, job.bucket, "", "us-east-1")
    order = Order.model_validate(job.order)
    lease = Lease(order.budget)
    bucket = Bucket(place, lambda: Keys(job.key_id, job.secret), AGENT, lease)
    began = time.perf_counter()
    work = stage(order, bucket, lease, settings)
    return Report(
        seconds=time.perf_counter() - began,
        cpu_seconds=time.process_time(),
        peak_memory_mb=peak_memory() / 1e6,
        bytes_fetched=work.bytes_fetched,
        failed={one.artifact: one.reason for one in work.items if not one.ok},
    )


if __name__ == "__main__":
    main()
