"""The process that uploads when a benchmark measures it: `python -m benchmarks.uploader`.

It writes the file of a ``Job`` to a bucket (see ``jobs``).
"""

import time
from dataclasses import dataclass
from pathlib import Path

import obstore
from obstore.store import S3Store

from benchmarks.child import peak_memory
from benchmarks.jobs import answer
from workers.lease import Lease
from workers.storage.contract import Content
from workers.storage.s3 import Bucket, Keys, Place

PART = 16 * 1024 * 1024
AGENT = "Fleet/benchmark"


@dataclass(frozen=True)
class Job:
    """One upload; ``parts`` are the md5s that the pull before it left, end to end, as hex."""

    who: str
    endpoint: str
    bucket: str
    key_id: str
    secret: str
    path: str
    file: str
    size: int
    sha256: str
    parts: str


@dataclass(frozen=True)
class Report:
    """What an upload took."""

    seconds: float
    peak_memory_mb: float


def main() -> None:
    """Do one job."""
    answer(lambda told: _do(Job(**told)))


def _do(job: Job) -> Report:
    began = time.perf_counter()
    {"fleet": _fleet, "obstore": _obstore}[job.who](job)
    return Report(time.perf_counter() - began, peak_memory() / 1e6)


def _fleet(job: Job) -> None:
    place = Place(job.endpoint, job.bucket, "", "us-east-1")
    bucket = Bucket(place, lambda: Keys(job.key_id, job.secret), AGENT)
    parts = bytes.fromhex(job.parts)
    content = Content(Path(job.file), job.size, job.sha256, None, parts, PART)
    bucket.write(job.path, content, Lease())


def _obstore(job: Job) -> None:
    store = S3Store(
        job.bucket,
        endpoint=job.endpoint,
        access_key_id=job.key_id,
        secret_access_key=job.secret,
        region="us-east-1",
        client_options={"allow_http": True},
    )
    with Path(job.file).open("rb") as file:
        obstore.put(store, job.path, file, chunk_size=PART)


if __name__ == "__main__":
    main()
