"""Readers of the latest set: each reads its manifest, then every file that it names, for ever anew.

A thousand of them are at it at once, each somewhere in its set, and take turns on few connections:
so a set takes seconds to read, and the switch comes in the middle of it.
"""

import hashlib
import http.client
import json
import os
import queue
import threading
from collections.abc import Callable, Generator
from dataclasses import dataclass, fields
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Event

from fleet.planning.latest import bare, place
from tests.latest_support import DATASET, files
from tests.storage_support import BUCKET

CONNECTIONS = 2
STAYS = "boundaries.json"  # a name that every version has
Step = Generator[str, bytes | None, None]


@dataclass
class Seen:
    """What readers saw.

    Attributes:
        sets: how many were read, from the manifest to the last file.
        spanned: those that the switch came in the middle of.
        mixed: those that are not what one version has.
        missing: manifests and files that were not there.
        backward: sets that are older than what the same reader had seen.
        torn: files under a bare name that are no version's.
        fewest: sets that the reader with the fewest read.
    """

    sets: int = 0
    spanned: int = 0
    mixed: int = 0
    missing: int = 0
    backward: int = 0
    torn: int = 0
    fewest: int = 0


def serve(
    address: tuple[str, int], readers: int, versions: int, enough: Event, told: Connection
) -> None:
    """Let so many readers read until it is enough, and say what they saw; in its own process."""
    os.nice(5)  # who switches comes first, so that it takes no minutes
    tallies = [Seen() for _ in range(readers)]
    bares = {hashlib.sha256(files(one)[STAYS]).digest() for one in range(1, versions + 1)}
    waiting: queue.SimpleQueue[tuple[Step, str]] = queue.SimpleQueue()
    for tally in tallies:
        reader = _reads(tally, bares, enough.is_set)
        waiting.put((reader, next(reader)))
    threads = [threading.Thread(target=_turns, args=(address, waiting)) for _ in range(CONNECTIONS)]
    for one in (*threads,):
        one.start()
    for one in threads:
        one.join()
    whole = Seen(*(sum(getattr(one, f.name) for one in tallies) for f in fields(Seen)))
    whole.fewest = min(one.sets for one in tallies)
    told.send(whole)


def _turns(address: tuple[str, int], waiting: "queue.SimpleQueue[tuple[Step, str]]") -> None:
    """Ask for whatever the reader whose turn it is wants next, until none wants anything."""
    line = http.client.HTTPConnection(*address)
    while True:
        try:
            reader, path = waiting.get_nowait()
        except queue.Empty:  # what is left is in the hands of other threads
            line.close()
            return
        line.request("GET", f"/{BUCKET}/{path}")
        answer = line.getresponse()
        data = answer.read()
        try:
            waiting.put((reader, reader.send(data if answer.status == 200 else None)))
        except StopIteration:
            continue


def _reads(tally: Seen, bares: set[bytes], enough: Callable[[], bool]) -> Step:
    """Yield the path of what it reads next, and be sent the bytes; None where nothing is."""
    newest, before = 0, 0
    while not enough() or not tally.sets:
        told = yield place(DATASET)
        if told is None:
            tally.missing += 1
            continue
        manifest = json.loads(told)
        sequence, named = manifest["sequence"], manifest["files"]
        tally.spanned += bool(before) and sequence != before
        tally.backward += sequence < newest
        newest, before = max(newest, sequence), sequence
        truth, mixed = files(sequence), False
        for name, file in sorted(named.items()):
            data = yield file["path"]
            tally.missing += data is None
            right = data == truth.get(name) and data is not None
            mixed |= not right or hashlib.sha256(data).hexdigest() != file["sha256"]
        tally.mixed += mixed or named.keys() != truth.keys()
        tally.sets += 1
        under = yield bare(STAYS)
        tally.missing += under is None
        tally.torn += under is not None and hashlib.sha256(under).digest() not in bares
