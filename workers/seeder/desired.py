"""What a site shall seed, checked before it is believed.  Pure.

Rules this module keeps:

- One bad entry never hides the others: each is refused by itself, with its reason.
- A torrent is what its infohash says, and lies where its seed says, or it is refused.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import ValidationError

from fleet.messages import DesiredSeeds, Seed
from fleet.torrent.metainfo import Files, MetainfoError
from fleet.torrent.parsed import parse


class RefusedError(ValueError):
    """What the centre sent cannot be used; the message says why."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A seed and the files that its torrent consists of.

    Attributes:
        seed: what the centre asked for, but for its peers: they come and go, and change nothing
            of what lies here.
        content: each file's path below ``folder``, and its size.
        renamed: the numbers of those that the torrent calls otherwise, and their paths; padding,
            which lies nowhere, counts but is in neither.
    """

    seed: Seed
    content: Files
    renamed: tuple[tuple[int, str], ...] = ()

    @property
    def folder(self) -> str:
        """Where the files lie, below the site's root; empty: the root."""
        return "" if self.seed.inside else self.seed.folder


def read_desired(data: bytes) -> tuple[DesiredSeeds, tuple[str, ...]]:
    """Read the centre's list.

    Returns:
        The seeds that are sound, with the caps, and why each of the others is not.

    Raises:
        RefusedError: it is no such list at all.
    """
    try:
        outer = json.loads(data)
        if not isinstance(outer, dict) or not isinstance(outer.get("seeds", []), list):
            raise RefusedError("the list of seeds is no list of seeds")
        desired = DesiredSeeds.model_validate({**outer, "seeds": ()})
    except (ValueError, RecursionError) as error:
        raise RefusedError(f"the list of seeds is malformed: {_brief(error)}") from error
    seeds: dict[str, Seed] = {}
    refused: list[str] = []
    for index, entry in enumerate(outer.get("seeds", [])):
        try:
            seed = Seed.model_validate(entry)
        except ValidationError as error:
            refused.append(f"seed {index} is malformed: {_brief(error)}")
            continue
        if seed.infohash in seeds:
            refused.append(f"seed {index} repeats the infohash {seed.infohash}")
        seeds.setdefault(seed.infohash, seed)
    return desired.model_copy(update={"seeds": tuple(seeds.values())}), tuple(refused)


def admit(seed: Seed, torrent: bytes) -> Wanted:
    """Check that ``torrent`` is the one that ``seed`` speaks of.

    Raises:
        RefusedError: it is malformed, or another one.
    """
    try:
        parsed = parse(torrent)
    except MetainfoError as error:
        raise RefusedError(str(error)) from error
    if parsed.infohash != seed.infohash:
        raise RefusedError(f"the centre sent the torrent {parsed.infohash} in its place")
    if (parsed.name, parsed.size) != (seed.name, seed.size):
        raise RefusedError(
            f"the torrent is {parsed.name!r} of {parsed.size} bytes, "
            f"not {seed.name!r} of {seed.size}"
        )
    seed = _lasting(seed)
    if not seed.inside:
        return Wanted(seed, parsed.content)
    own = [at for at in range(len(parsed.files)) if at not in parsed.padding]
    renamed = tuple((at, _moved(seed, parsed.content[at][0])) for at in own)
    sizes = [parsed.files[at][1] for at in own]
    content = tuple((path, size) for (_, path), size in zip(renamed, sizes, strict=True))
    return Wanted(seed, content, renamed)


def _lasting(seed: Seed) -> Seed:
    """Leave out what changes from hour to hour."""
    return seed.model_copy(update={"peers": ()}) if seed.peers else seed


def _moved(seed: Seed, path: str) -> str:
    """Put what a path of a torrent that others made begins with at the site in its place."""
    if not f"{path}/".startswith(f"{seed.inside}/"):
        raise RefusedError(f"the torrent's {path!r} is not inside {seed.inside!r}")
    return seed.folder + path.removeprefix(seed.inside)


def settle(
    desired: DesiredSeeds, known: Mapping[str, Wanted]
) -> tuple[dict[str, Wanted], tuple[Seed, ...]]:
    """Compare what is desired with what is known.

    Returns:
        What is known and still desired just so, by infohash; and the seeds that are new or have
        changed, whose torrents are still to be had.
    """
    kept: dict[str, Wanted] = {}
    new: list[Seed] = []
    for seed in desired.seeds:
        wanted = known.get(seed.infohash)
        if wanted is not None and wanted.seed == _lasting(seed):
            kept[seed.infohash] = wanted
        else:
            new.append(seed)
    return kept, tuple(new)


def _brief(error: Exception) -> str:
    """Put an error of many lines on one."""
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        return f"{where}: {first['msg']}" if where else first["msg"]
    return str(error) or type(error).__name__
