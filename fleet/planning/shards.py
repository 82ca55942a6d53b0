"""Cutting a version into shards.

Rules this module keeps:

- A file of ``alone_from`` bytes or more is a shard by itself; the others are bundled in the order
  of their paths, up to a cap of bytes and of files.
- So is one that is to be alone, such as a manifest: the bundles beside it are as if it were not
  there, and a torrent that others made of the same files is the same one.
- No shard is empty, for no torrent can be: a bundle ends only once it holds a byte, empty files
  at the end stay with the last bundle, and where every other file is a shard by itself they join
  the smallest of those.  The caps give way to that.
- The same files always give the same shards.
"""

from collections.abc import Iterable

from fleet.planning.facts import FileFacts


def cut(
    files: Iterable[FileFacts], *, alone_from: int, bundle_bytes: int, bundle_files: int
) -> list[tuple[FileFacts, ...]]:
    """Give each file to exactly one shard; a shard's files are in the order of their paths.

    Files that are all empty make no shard.
    """
    lone: list[FileFacts] = []
    bundles: list[list[FileFacts]] = []
    bundle: list[FileFacts] = []
    held = 0
    for file in sorted(files, key=_path):
        if file.alone or file.size >= alone_from:
            lone.append(file)
            continue
        if held and (held + file.size > bundle_bytes or len(bundle) >= bundle_files):
            bundles.append(bundle)
            bundle, held = [], 0
        bundle.append(file)
        held += file.size
    if held:
        bundles.append(bundle)
    elif bundles:
        bundles[-1] += bundle
    elif bundle and (others := [file for file in lone if not file.alone]):
        smallest = min(others, key=lambda file: (file.size, file.path))
        lone.remove(smallest)
        bundles.append(sorted([*bundle, smallest], key=_path))
    shards = [tuple(bundle) for bundle in bundles] + [(file,) for file in lone]
    return sorted(shards, key=lambda shard: shard[0].path)


def _path(file: FileFacts) -> str:
    return file.path
