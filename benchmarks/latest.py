"""The switch of the latest set: killed at every boundary, and read by a thousand meanwhile.

The strict S3 server of the tests, real processes that switch and are killed, and readers that go by
the manifest: each reads it, then every file that it names, and holds their bytes against what that
version has.
"""

from dataclasses import asdict

from benchmarks.contest import missed, options, show
from benchmarks.ground import MIB, ground, say
from tests.latest_kills import every_boundary, watched

READERS = 1000
SWITCHES = 50
WANTED = {
    "mixed": ("<=", 0.0),
    "missing": ("<=", 0.0),
    "backward": ("<=", 0.0),
    "torn": ("<=", 0.0),
    "unfinished": ("<=", 0.0),
    "unlike": ("<=", 0.0),
    "lost": ("<=", 0.0),
    "readers": (">=", float(READERS)),
    "switches": (">=", float(SWITCHES)),
    "sets_of_the_slowest": (">=", 1.0),
}


def main() -> None:
    """Switch, kill and read, and print what was found."""
    given = options(__doc__, "readers (1,000)").parse_args()
    readers, switches = given.size or READERS, given.rounds or SWITCHES
    with ground(256 * MIB) as folder:
        say("a switch is killed at every boundary")
        swept = every_boundary(folder / "killed")
        say(f"{readers} read while {switches} switches are killed and finished")
        read = watched(folder / "read", readers, switches)
    result = {
        "kills_at_each_boundary": swept.kills,
        "unfinished": swept.unfinished,
        "lost": swept.lost,
        "readers": readers,
        "switches": read.switches,
        "kills_while_read": read.kills,
        "sets_read": read.seen.sets,
        "sets_of_the_slowest": read.seen.fewest,
        "sets_switched_while_read": read.seen.spanned,
        "mixed": swept.mixed + read.seen.mixed,
        "missing": swept.missing + read.seen.missing,
        "backward": read.seen.backward,
        "torn": read.seen.torn,
        "unlike": swept.unlike + read.unlike,
        "swept": asdict(swept),
    }
    show({**result, "missed": missed(result, WANTED)}, WANTED, as_json=given.json)


if __name__ == "__main__":
    main()
