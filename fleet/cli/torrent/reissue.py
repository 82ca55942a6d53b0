"""A torrent written anew with other links, and the same infohash.

Rules this module keeps:

- No web seed is written that clients cannot use, whether it is given now or was there before.
- The file is written beside its place and then renamed; who reads meanwhile reads the old one.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from fleet.cli.files import write
from fleet.cli.text import clean
from fleet.cli.torrent.torrent_file import parsed, read, refusal
from fleet.control.errors import FleetError
from fleet.torrent.lint import lint_seed
from fleet.torrent.metainfo import MetainfoError
from fleet.torrent.parsed import ParsedTorrent
from fleet.torrent.reissue import reissue


def wanted(
    given: Sequence[str] | None, none: bool, option: str, no_option: str
) -> Sequence[str] | None:
    """Tell what an option and its opposite ask for: these, none (``()``), or no change (None).

    Raises:
        FleetError: both were given.
    """
    if given and none:
        raise FleetError(f"{option} and {no_option} contradict each other: give one of them")
    if none:
        return ()
    return given or None


def main(
    path: Path,
    out: Path,
    *,
    web_seeds: Sequence[str] | None,
    trackers: Sequence[str] | None,
    comments: Sequence[str] | None,
    probe: bool,
) -> None:
    """Write the torrent of ``path`` anew, to ``out``.

    Raises:
        FleetError: the file is no torrent that we would use, a web seed is one that clients
            cannot use, or the new file cannot be written.
    """
    data = read(path)
    torrent = parsed(path, data)
    seeds = tuple(torrent.web_seeds if web_seeds is None else dict.fromkeys(web_seeds))
    _refuse_useless(torrent, seeds)
    if probe:
        seeds = _alive(torrent, seeds)
    keeps = web_seeds is None and seeds == torrent.web_seeds
    try:
        written = reissue(
            data, web_seeds=None if keeps else seeds, trackers=trackers, comments=comments
        )
    except MetainfoError as error:
        raise refusal(path, error) from error
    write(out, written)
    sys.stdout.write(f"{torrent.infohash}  {clean(str(out))}  ({len(seeds)} web seeds)\n")


def _refuse_useless(torrent: ParsedTorrent, seeds: Sequence[str]) -> None:
    for seed in seeds:
        for finding in lint_seed(torrent, seed):
            if finding.severity == "error":
                raise FleetError(
                    clean(f"{seed}: {finding.text} (clients would ask for {finding.asks})")
                )


def _alive(torrent: ParsedTorrent, seeds: tuple[str, ...]) -> tuple[str, ...]:
    """Ask each web seed for a piece, say which fail and why, and give the others."""
    from fleet.cli.torrent.probing import probe_seeds

    found = probe_seeds(torrent, seeds)
    for finding in found:
        verb = "dropped" if finding.severity == "error" else "kept"
        sys.stderr.write(clean(f"fleet: {verb} {finding.seed}: {finding.text}") + "\n")
    dead = {finding.seed for finding in found if finding.severity == "error"}
    return tuple(seed for seed in seeds if seed not in dead)
