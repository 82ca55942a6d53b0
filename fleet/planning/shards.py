"""Cutting a version into shards.

A file of ``alone_from`` bytes or more is a shard by itself; the others are bundled in the order
of their paths, up to a cap of bytes and of files.  The same files always give the same shards.
"""

from collections.abc import Iterable

from fleet.planning.facts import FileFacts


def cut(
    files: Iterable[FileFacts], *, alone_from: int, bundle_bytes: int, bundle_files: int
) -> list[tuple[FileFacts, ...]]:
    """Give each file to exactly one shard; a shard's files are in the order of their paths."""
    shards: list[tuple[FileFacts, ...]] = []
    bundle: list[FileFacts] = []
    held = 0
    for file in sorted(files, key=lambda file: file.path):
        if file.size >= alone_from:
            shards.append((file,))
            continue
        if bundle and (held + file.size > bundle_bytes or len(bundle) >= bundle_files):
            shards.append(tuple(bundle))
            bundle, held = [], 0
        bundle.append(file)
        held += file.size
    if bundle:
        shards.append(tuple(bundle))
    return sorted(shards, key=lambda shard: shard[0].path)
