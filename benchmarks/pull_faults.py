"""Bad mirrors, kills and power cuts: what they cost, and that no wrong file comes of them.

Three mirrors of equal speed, one of which sends a wrong byte in every 100 MB and one of which
falls silent, beside one honest mirror alone; once with the shard's piece hashes known and once
without (blind).  Then downloads that are killed at a random moment and started anew, and the same
with the power cut.  `--full`: 5 rounds, 30 kills of 2 GiB and 40 power cuts.
"""

from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from benchmarks.contest import Contest, missed, options, show
from benchmarks.engine import FOLDER, Engine, Report, Task, item, order
from benchmarks.ground import MIB, empty, ground, make_file, require, sha256_of
from benchmarks.kills import NAME, kill_each
from benchmarks.mirrors import Mirror
from fleet.torrent.pieces import PieceHasher, piece_length

SIZE = 256  # MiB, from mirrors
RATE = 25e6  # bytes per second of each mirror
LIE_EVERY = 100_000_000
SILENT_AFTER = 20_000_000
STALL_SECONDS = 2.0
ROUNDS, FULL_ROUNDS = 3, 5
KILLS, KILL_SIZE = 6, 1024 * MIB
FULL_KILLS, FULL_KILL_SIZE = 30, 2048 * MIB
POWER_CUTS, FULL_POWER_CUTS = 8, 40
POWER_SIZE = 128 * MIB
ALONE, KNOWN, BLIND = "one honest mirror", "three, pieces known", "three, blind"
WANTED = {
    "time_vs_honest": ("<=", 1.3),
    "time_vs_honest_blind": ("<=", 2.0),
    "liars_named": (">=", 1.0),
    "wrong_results": ("<=", 0),
    "bytes_fetched_twice_ratio": ("<=", 0.01),
    "power_loss_wrong_files": ("<=", 0),
}


@dataclass
class Trial:
    """Pulls of one file from mirrors, the liar ranked first and the honest one last.

    Attributes:
        pieces: the v1 piece hashes of the file.
        lied: how often the liar sent a wrong byte at all; ``named``: and was named for it.
    """

    size: int
    sha256: str
    pieces: bytes
    liar: Mirror
    silent: Mirror
    honest: Mirror
    lied: int = 0
    named: int = 0
    wrong: int = 0
    dice: Random = field(default_factory=lambda: Random(1))  # noqa: S311 - to be repeated, no secret

    def run(self, mirrors: tuple[Mirror, ...], known: bytes, folder: Path) -> float:
        """Pull the file once; count what came of it."""
        for mirror in mirrors:
            mirror.refresh()
        self.liar.lies = [
            self.dice.randrange(at, min(at + LIE_EVERY, self.size))
            for at in range(0, self.size, LIE_EVERY)
        ]
        urls = [mirror.url for mirror in mirrors]
        wanted = item(NAME, *urls, size=self.size, sha256=self.sha256)
        wanted = wanted.model_copy(update={"offset": 0})
        shard = {"shard": "benchmark", "piece_length": piece_length(self.size)} if known else {}
        task = Task(
            order([wanted], ["sha256"], **shard),
            str(folder / "site"),
            known=known.hex(),
            stall_seconds=STALL_SECONDS,
        )
        with Engine() as engine:
            report = engine.pull(task)
        self._judge(report, folder / "site" / FOLDER / NAME)
        return report.seconds

    def _judge(self, report: Report, final: Path) -> None:
        self.wrong += sha256_of(final) != self.sha256
        if not self.liar.lies_told:
            return
        self.lied += 1
        self.named += any(
            source["host"].startswith(self.liar.host)
            and bool(source["last_error"] or source["evidence"])
            for source in report.sources
        )
        self.liar.lies_told = 0


def piece_hashes(path: Path) -> bytes:
    """Cut a file into pieces."""
    hasher = PieceHasher(piece_length(path.stat().st_size))
    with path.open("rb") as file:
        while block := file.read(MIB):
            hasher.update(block)
    return hasher.finish()


def bad_mirrors(folder: Path, size: int, rounds: int) -> dict[str, object]:
    """Measure what bad mirrors cost."""
    file = folder / "file.bin"
    sha256 = make_file(file, size)
    with (
        Mirror("127.0.0.2", file, RATE) as liar,
        Mirror("127.0.0.3", file, RATE, silent_after=SILENT_AFTER) as silent,
        Mirror("127.0.0.4", file, RATE) as honest,
    ):
        trial = Trial(size, sha256, piece_hashes(file), liar, silent, honest)
        three = (liar, silent, honest)
        contest = Contest(folder / "arena")
        contest.add(ALONE, lambda place: trial.run((honest,), b"", place))
        contest.add(KNOWN, lambda place: trial.run(three, trial.pieces, place))
        contest.add(BLIND, lambda place: trial.run(three, b"", place))
        contest.hold(rounds)
    return {
        "size_mb": round(size / 1e6, 1),
        "time_vs_honest": contest.ratio(KNOWN, ALONE),
        "time_vs_honest_blind": contest.ratio(BLIND, ALONE),
        "pulls_lied_to": trial.lied,
        "liars_named": round(trial.named / trial.lied, 3) if trial.lied else None,
        "wrong_results": trial.wrong,
        "seconds": contest.medians,
    }


def kills(folder: Path, *, full: bool) -> dict[str, object]:
    """Measure what kills and power cuts cost, and count wrong files."""
    count, size = (FULL_KILLS, FULL_KILL_SIZE) if full else (KILLS, KILL_SIZE)
    killed = kill_each(empty(folder / "kills"), size, count)
    empty(folder / "kills")
    cuts = FULL_POWER_CUTS if full else POWER_CUTS
    cut = kill_each(empty(folder / "cuts"), POWER_SIZE, cuts, forgetful=True)
    return {
        "kills": killed.count,
        "kill_size_mb": round(killed.size / 1e6, 1),
        "kill_wrong_files": killed.wrong,
        "bytes_fetched_twice_ratio": killed.twice,
        "power_cuts": cut.count,
        "power_size_mb": round(cut.size / 1e6, 1),
        "power_loss_wrong_files": cut.wrong,
        "power_loss_fetched_twice_ratio": cut.twice,
    }


def main() -> None:
    """Run all of it and print what it found."""
    full = f"{FULL_ROUNDS} rounds, {FULL_KILLS} kills of 2 GiB, {FULL_POWER_CUTS} power cuts"
    given = options(__doc__, f"MiB of the file on the mirrors ({SIZE})", full=full).parse_args()
    require("nginx")
    rounds = given.rounds or (FULL_ROUNDS if given.full else ROUNDS)
    largest = FULL_KILL_SIZE if given.full else KILL_SIZE
    size = (given.size or SIZE) * MIB
    with ground(2 * max(largest, size)) as folder:
        result = bad_mirrors(empty(folder / "mirrors"), size, rounds)
        empty(folder / "mirrors")
        result |= kills(folder, full=given.full)
    show({**result, "missed": missed(result, WANTED)}, WANTED, as_json=given.json)


if __name__ == "__main__":
    main()
