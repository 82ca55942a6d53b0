"""Making torrents: from a pull's digests, and of a cold file beside libtorrent and mktorrent.

A file on a disk is dropped from the page cache before each run, whoever's it is.  Fleet hashes its
v1 pieces and its BEP 52 tree on one thread beside libtorrent, whose Python binding hashes on one;
and its v1 pieces on every core beside mktorrent on every core.  As with both of these, one more
thread reads what the others hash.  Random layouts of the sizes and
names that torrents get wrong are hashed by libtorrent as well, and must come out the same.
"""

import os
import statistics
import time
from functools import cache, partial
from pathlib import Path

from benchmarks import peers
from benchmarks.contest import ROUNDS, Contest, missed, options, show
from benchmarks.ground import DISK, MIB, empty, make_file, say, scratch, tool_path
from benchmarks.layouts import differences, layouts
from fleet.torrent.metainfo import Metainfo, magnet, torrent_bytes
from fleet.torrent.parsed import parse
from fleet.torrent.pieces import DIGEST_BYTES, piece_count, piece_length
from fleet.torrent.shard import shard_metainfo
from workers.hashing import cores, hash_pieces, hash_trees
from workers.regions import Part

SIZE = 512  # MiB
PULLED = 10 * 1024 * MIB
LAYOUTS = 200
LIBTORRENT_THREADS = 1  # that hash; its binding has no way to ask for more
MKTORRENT = "made.torrent"
WANTED = {
    "seconds_per_10gib_from_digests": ("<=", 0.1),
    "vs_libtorrent_hybrid": (">=", 1.0),
    "vs_mktorrent_v1": (">=", 0.9),
    "infohash_mismatches": ("<=", 0),
}


def from_digests() -> float:
    """Make the torrent of a pulled artifact of 10 GiB; give the seconds."""
    length = piece_length(PULLED)
    pieces = os.urandom(piece_count(PULLED, length) * DIGEST_BYTES)
    started = time.perf_counter()
    meta = shard_metainfo("census", "2021", [("census.zip", PULLED)], length, pieces)
    torrent_bytes(meta, web_seeds=["https://a.example/census.zip"], comment="Census")
    magnet(meta)
    return time.perf_counter() - started


def forget(path: Path) -> None:
    """Drop a file, all of which is on disk, from the page cache."""
    with path.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def ours_v1(path: Path, _: Path) -> float:
    """Make the v1 torrent of a cold file on every core."""
    forget(path)
    started = time.perf_counter()
    torrent_bytes(made(path))
    return time.perf_counter() - started


def made(path: Path) -> Metainfo:
    """Hash a file and give its canonical torrent."""
    size = path.stat().st_size
    length = piece_length(size)
    pieces = hash_pieces(path.parent, [Part(path.name, size)], length)
    return Metainfo(path.name, ((path.name, size),), length, pieces)


@cache
def infohash(path: Path) -> str:
    """Give the infohash of a file's canonical torrent."""
    return made(path).infohash


def ours_hybrid(threads: int, path: Path, _: Path) -> float:
    """Hash the v1 pieces and the BEP 52 tree of a cold file."""
    forget(path)
    started = time.perf_counter()
    size = path.stat().st_size
    length = piece_length(size)
    pieces, _trees = hash_trees(path.parent, [Part(path.name, size)], length, threads=threads)
    torrent_bytes(Metainfo(path.name, ((path.name, size),), length, pieces))
    return time.perf_counter() - started


def libtorrent_hybrid(path: Path, _: Path) -> float:
    """Let libtorrent make a hybrid torrent of a cold file."""
    forget(path)
    return peers.hybrid_torrent(path)


def mktorrent(path: Path, folder: Path) -> float:
    """Let mktorrent make the v1 torrent of a cold file on every core.

    Raises:
        RuntimeError: it is not the torrent that we make.
    """
    forget(path)
    length = piece_length(path.stat().st_size).bit_length() - 1
    command = ["mktorrent", "-d", "-l", str(length), "-t", str(cores()), "-a", "http://t.example"]
    taken = peers.timed(folder, [*command, "-o", MKTORRENT, str(path)])
    if parse((folder / MKTORRENT).read_bytes()).infohash != infohash(path):
        raise RuntimeError("mktorrent's infohash is not ours")
    return taken


def mismatches(folder: Path) -> int:
    """Count the layouts of which some hash is not libtorrent's."""
    wrong = 0
    for layout in layouts(LAYOUTS):
        layout.write(empty(folder))
        if found := differences(layout, folder):
            say(f"{layout.name}, {layout.piece_length}: {', '.join(found)}")
            wrong += 1
    empty(folder)
    return wrong


def enter(contest: Contest, path: Path) -> None:
    """Let everyone into the contest; mktorrent only where there is one."""
    contest.add("fleet, v1", partial(ours_v1, path))
    if tool_path("mktorrent"):
        contest.add("mktorrent", partial(mktorrent, path))
    contest.add("fleet, hybrid", partial(ours_hybrid, LIBTORRENT_THREADS, path))
    contest.add("libtorrent, hybrid", partial(libtorrent_hybrid, path))
    contest.add("fleet, hybrid, every core", partial(ours_hybrid, 0, path))


def found(contest: Contest, mebibytes: int) -> dict[str, object]:
    """Work out the figures."""
    known = "mktorrent" in contest.runs
    return {
        "mebibytes": mebibytes,
        "cores": cores(),
        "load": round(os.getloadavg()[0], 2),
        "seconds_per_10gib_from_digests": round(
            statistics.median(from_digests() for _ in range(ROUNDS)), 4
        ),
        "vs_libtorrent_hybrid": contest.ratio("libtorrent, hybrid", "fleet, hybrid"),
        **({"vs_mktorrent_v1": contest.ratio("mktorrent", "fleet, v1")} if known else {}),
        "seconds": contest.medians,
        "skipped": {} if known else {"mktorrent": "is missing: apt-get install mktorrent"},
    }


def main() -> None:
    """Hold the contest and print what it found."""
    given = options(__doc__, f"MiB of the cold file ({SIZE})").parse_args()
    mebibytes = given.size or SIZE
    with scratch(DISK) as folder:
        path = folder / "cold.bin"
        make_file(path, mebibytes * MIB)
        with path.open("rb+") as file:
            os.fsync(file.fileno())
        contest = Contest(folder / "arena")
        enter(contest, path)
        contest.hold(given.rounds or ROUNDS)
        result = {**found(contest, mebibytes), "layouts": LAYOUTS}
        result["infohash_mismatches"] = mismatches(folder / "layouts")
    wanted = {name: bound for name, bound in WANTED.items() if name in result}
    show({**result, "missed": missed(result, wanted)}, WANTED, as_json=given.json)


if __name__ == "__main__":
    main()
