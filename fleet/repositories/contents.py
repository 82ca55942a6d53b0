"""The files of a record: a version's data with its papers, or where they do not fit its papers.

Papers are what leads to the data and proves them: the manifest and whatever else the caller gives,
``SHA256SUMS``, ``MIRRORS.txt`` and the torrents, which become one archive where they are too many.
All of them are the same bytes whenever they are made again, so that a publication that was broken
off finds its own files.
"""

import hashlib
import io
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fleet.invenio import Unfit, Wanted
from fleet.planning.repositories import RecordLimits, first_fit


@dataclass(frozen=True, slots=True)
class Paper:
    """A small file that is made or held here."""

    key: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Contents:
    """What a record shall hold.

    Attributes:
        files: all of it.
        papers: the bytes of those files that are papers, by key.
        whole: whether the data are among them.
        reason: why they are not.
    """

    files: tuple[Wanted, ...]
    papers: Mapping[str, bytes]
    whole: bool
    reason: str = ""


def composed(
    data: Sequence[Wanted],
    sha256: Mapping[str, str],
    papers: Sequence[Paper],
    torrents: Sequence[Paper],
    mirrors: Sequence[str],
    limits: RecordLimits,
) -> Contents:
    """Choose the files of a version's record.

    Args:
        data: the version's files; of those that no repository could take too.
        sha256: of each of them in hex, by key.
        papers: the manifest, and what else shall be there whatever happens to the data.
        torrents: one for each shard.
        mirrors: URLs at which the data are.
        limits: of the repository.

    Raises:
        Unfit: not even the papers go into a record.
    """
    taken = {one.key for one in data}
    lists = [Paper("SHA256SUMS", _sums(sha256))]
    if mirrors:
        lists.append(Paper("MIRRORS.txt", "".join(f"{url}\n" for url in mirrors).encode()))
    few = _named([*papers, *lists, *torrents], taken)
    archive = [Paper("torrents.tar", _archive(torrents))] if torrents else []
    many = _named([*papers, *lists, *archive], taken)
    choices = [(True, few), (True, many), (True, []), (False, few), (False, many)]
    sets = [
        [*(data if whole else ()), *(_wanted(paper) for paper in chosen)]
        for whole, chosen in choices
    ]
    number, reason = first_fit([[(one.key, one.size) for one in files] for files in sets], limits)
    if number is None:
        raise Unfit(f"not even the papers of this version go into one record: {reason}")
    whole, chosen = choices[number]
    return Contents(
        tuple(sets[number]),
        {paper.key: paper.data for paper in chosen},
        whole,
        "" if whole else reason,
    )


def _named(papers: Sequence[Paper], taken: set[str]) -> list[Paper]:
    """Give papers names that no file of the data and no other paper has."""
    used, named = set(taken), []
    for paper in papers:
        key = paper.key
        while key in used:
            key = f"fleet-{key}"
        used.add(key)
        named.append(Paper(key, paper.data))
    return named


def _wanted(paper: Paper) -> Wanted:
    md5 = hashlib.md5(paper.data, usedforsecurity=False).hexdigest()
    return Wanted(paper.key, len(paper.data), md5)


def _sums(sha256: Mapping[str, str]) -> bytes:
    """Write checksums as ``sha256sum --check`` reads them."""
    return "".join(f"{sum_}  {key}\n" for key, sum_ in sorted(sha256.items())).encode()


def _archive(papers: Sequence[Paper]) -> bytes:
    """Write a tar of which each byte follows from what is in it."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for paper in sorted(papers, key=lambda one: one.key):
            entry = tarfile.TarInfo(paper.key)
            entry.size = len(paper.data)
            archive.addfile(entry, io.BytesIO(paper.data))
    return stream.getvalue()
