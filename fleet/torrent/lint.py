"""What is wrong with a torrent, and what to do about it.

An ``error`` is something that some client cannot use; a ``warning`` makes it slow, hard to find or
the twin of another torrent; a ``note`` is good to know.  What each client takes was measured, or
read in its source (libtorrent 2.0 and 2.1, qBittorrent 4.5 and 5.1, aria2 1.36 and 1.37,
Transmission 3.00 and 4.1, WebTorrent 1.9 and 3.0).  Who made a torrent, and when, does not matter.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import SplitResult, unquote, urlsplit

from fleet.torrent.metainfo import MetainfoError
from fleet.torrent.parsed import Dictionary, ParsedTorrent, checked, dictionary
from fleet.torrent.pieces import LONGEST, piece_length
from fleet.torrent.webseeds import first_url

Severity = Literal["error", "warning", "note"]

MOST_SEEDS: Final = 100
MOST_METADATA: Final = 10_000_000  # bytes of a .torrent file that libtorrent reads by default
_NAMED: Final = 5
_RANKS: Final = {"error": 0, "warning": 1, "note": 2}
_PLAIN: Final = re.compile(r"[A-Za-z0-9._/-]*")
_MISREAD: Final = re.compile(r"[#?%]")
_URL: Final = re.compile(r"(?:[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=]|%[0-9A-Fa-f]{2})+")
_INFO_KEYS: Final = frozenset({b"name", b"piece length", b"pieces", b"length", b"files"})
_V2_KEYS: Final = frozenset({b"file tree", b"meta version"})
_FILE_KEYS: Final = frozenset({b"length", b"path"})
_ZENODO: Final = frozenset({"zenodo.org", "www.zenodo.org", "sandbox.zenodo.org"})
_ZENODO_RECORD: Final = re.compile(r"/records?/\d+/?")
_REDIRECTING: Final = frozenset({"archive.org", "www.archive.org", "doi.org", "github.com"})


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing about a torrent.

    Attributes:
        code: a short name that stays the same, for programs.
        severity: how bad it is.
        text: one sentence on what is wrong and what to do.
        seed: the web seed that it is about; empty: the torrent itself.
        asks: the URL that clients would ask that web seed for, of the torrent's first file.
    """

    code: str
    severity: Severity
    text: str
    seed: str = ""
    asks: str = ""


@dataclass(frozen=True, slots=True)
class Linted:
    """A torrent and what was found, the worst first; one that was refused is not there."""

    torrent: ParsedTorrent | None
    findings: tuple[Finding, ...]

    @property
    def errors(self) -> tuple[Finding, ...]:
        """What some client cannot use."""
        return tuple(one for one in self.findings if one.severity == "error")


def lint(data: bytes) -> Linted:
    """Look at a ``.torrent`` file as clients will; what is no torrent to them is one error."""
    try:
        outer = dictionary(data)
        torrent = checked(outer)
    except MetainfoError as error:
        return Linted(None, (Finding("refused", "error", str(error)),))
    found = [
        *_kind(torrent, len(data)),
        *_twins(torrent, outer),
        *_names(torrent),
        *_finding_peers(torrent, outer),
        *_seeds(torrent),
    ]
    return Linted(torrent, worst_first(found))


def worst_first(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Put errors before warnings before notes."""
    return tuple(sorted(findings, key=lambda one: _RANKS[one.severity]))


def lint_seed(torrent: ParsedTorrent, seed: str) -> Iterator[Finding]:
    """Tell what is wrong with one web seed of a torrent, by its URL alone."""
    asks = first_url(torrent, seed)
    parts = _parts(seed)
    if parts is None:
        yield Finding(
            "seed-url",
            "error",
            "the web seed is no percent-encoded URL, and clients send it as it stands: encode it",
            seed,
            asks,
        )
        return
    rules = _common_rules(parts, seed)
    rules += _single_rules(parts) if torrent.single else _folder_rules(torrent, parts, seed)
    for code, severity, text in rules:
        yield Finding(code, severity, text, seed, asks)


def _kind(torrent: ParsedTorrent, length: int) -> Iterator[Finding]:
    """Tell what about its format some client refuses."""
    if torrent.hybrid:
        yield Finding(
            "hybrid",
            "error",
            "it is a hybrid of v1 and v2, which Transmission 3.00 rejects and of which aria2 1.36 "
            "computes a wrong infohash: make a v1 torrent",
        )
    if torrent.padding:
        yield Finding(
            "padding",
            "error" if torrent.web_seeds else "warning",
            "it has padding files, and aria2 1.36 and WebTorrent 1.9 ask web seeds for them "
            f"({torrent.files[min(torrent.padding)][0][:80]!r}): make it without",
        )
    if torrent.piece_length > LONGEST:
        yield Finding(
            "long-pieces",
            "error",
            f"its pieces of {_binary(torrent.piece_length)} are longer than the "
            f"{_binary(LONGEST)} that every client takes: make it with shorter ones",
        )
    if length > MOST_METADATA:
        yield Finding(
            "large-metadata",
            "error",
            f"the file has {length} bytes, and libtorrent reads at most {MOST_METADATA}: make it "
            "with longer pieces or fewer files",
        )


def _twins(torrent: ParsedTorrent, outer: Dictionary) -> Iterator[Finding]:
    """Tell what gives it another infohash than the canonical torrent of the same bytes."""
    if foreign := _foreign_keys(outer):
        named = ", ".join(foreign[:_NAMED])
        yield Finding(
            "foreign-keys",
            "warning",
            f"its info also holds {named}: a torrent of the same bytes without has another "
            "infohash, and the swarm is split; leave them out of the next one",
        )
    usual = piece_length(torrent.size)
    if torrent.piece_length != usual:
        yield Finding(
            "piece-length",
            "note",
            f"its pieces have {_binary(torrent.piece_length)} where {_binary(usual)} is the rule "
            "for its size: the canonical torrent of the same bytes has another infohash",
        )


def _foreign_keys(outer: Dictionary) -> list[str]:
    """List the keys that a canonical torrent has not, without those that have their own finding."""
    info = outer[b"info"]
    assert isinstance(info, dict)
    known = _INFO_KEYS | _V2_KEYS | ({b"private"} if info.get(b"private") == 1 else set())
    keys = set(info.keys() - known)
    files = info.get(b"files")
    for entry in files if isinstance(files, list) else ():
        assert isinstance(entry, dict)
        keys |= entry.keys() - _FILE_KEYS - ({b"attr"} if entry.get(b"attr") == b"p" else set())
    return [key.decode("utf-8", "replace")[:40] for key in sorted(keys)]


def _names(torrent: ParsedTorrent) -> Iterator[Finding]:
    """Tell which names some client or server may spell otherwise."""
    paths = [path for at, (path, _) in enumerate(torrent.content) if at not in torrent.padding]
    odd = [path for path in paths if not _PLAIN.fullmatch(path)]
    if not odd:
        return
    broken = [path for path in odd if _MISREAD.search(path)]
    hurts = broken and torrent.web_seeds and not torrent.single
    yield Finding(
        "names",
        "error" if hurts else "warning",
        f"{len(odd)} of {len(paths)} names have other signs than A-Z a-z 0-9 . _ -, such as "
        f"{(broken or odd)[0][:80]!r}; some clients ask web seeds for them unencoded: rename them",
    )


def _finding_peers(torrent: ParsedTorrent, outer: Dictionary) -> Iterator[Finding]:
    """Tell what keeps clients from finding anybody who has it."""
    if not torrent.trackers and not torrent.web_seeds:
        yield Finding(
            "no-sources",
            "error" if torrent.private else "warning",
            "it has neither trackers nor web seeds, "
            + ("and being private nobody finds a peer" if torrent.private else "only DHT is left")
            + ": reissue it with some",
        )
    if torrent.private:
        yield Finding(
            "private",
            "warning",
            "it is private: clients use its trackers only, without DHT and peer exchange, and its "
            "infohash differs from the public torrent's; make it public",
        )
    if b"httpseeds" in outer:
        yield Finding(
            "httpseeds",
            "warning",
            "it has httpseeds (BEP 17), which qBittorrent and others ignore: reissue it with "
            "--web-seed instead",
        )
    if torrent.left_out:
        yield Finding(
            "schemes",
            "note",
            f"{len(torrent.left_out)} of its trackers and web seeds, such as "
            f"{torrent.left_out[0][:80]!r}, have schemes that most clients do not use",
        )


def _seeds(torrent: ParsedTorrent) -> Iterator[Finding]:
    """Lint the web seeds, as many of them as anybody would use."""
    for seed in torrent.web_seeds[:MOST_SEEDS]:
        yield from lint_seed(torrent, seed)
    if len(torrent.web_seeds) > MOST_SEEDS:
        yield Finding(
            "many-seeds",
            "warning",
            f"it has {len(torrent.web_seeds)} web seeds, of which only the first {MOST_SEEDS} "
            "were looked at: reissue it with the best",
        )


_Rule = tuple[str, Severity, str]


def _common_rules(parts: SplitResult, seed: str) -> list[_Rule]:
    found: list[_Rule] = []
    if "@" in parts.netloc:
        text = "the web seed tells everybody a user or password, and browsers refuse it: remove it"
        found.append(("seed-password", "error", text))
    if "#" in seed:
        text = "the web seed has a fragment (#…), which is no part of what a server is asked for"
        found.append(("seed-fragment", "error", f"{text}: remove it"))
    if parts.scheme == "http":
        text = "the web seed is read over plain http, which anybody on the way sees and can break"
        found.append(("seed-http", "note", f"{text}: prefer https"))
    return found


def _single_rules(parts: SplitResult) -> list[_Rule]:
    if not parts.path.endswith("/") and parts.path:
        return []
    text = "the web seed names no file; WebTorrent asks for it as it stands, the others append "
    return [("seed-folder", "warning", f"{text}the torrent's name: give the file's whole URL")]


def _folder_rules(torrent: ParsedTorrent, parts: SplitResult, seed: str) -> list[_Rule]:
    found: list[_Rule] = []
    above, _, last = parts.path.rstrip("/").rpartition("/")
    if parts.query:
        text = "the web seed of a folder has a query, and the files' paths would end up in it"
        found.append(("seed-query", "error", f"{text}: give a base that ends in /"))
    if len(torrent.files) == 1:
        text = "the folder holds one file, and WebTorrent does not append its path to a web seed"
        found.append(("seed-lone-file", "error", f"{text}: make a torrent of the file itself"))
    if unquote(last) == torrent.name:
        base = parts._replace(path=f"{above}/", query="", fragment="").geturl()
        text = "the web seed already ends in the torrent's name, which clients append once more"
        found.append(("seed-named-twice", "error", f"{text}: give {base}"))
    if parts.hostname in _ZENODO and not _fits_zenodo(torrent, parts.path):
        text = "Zenodo has no folders, so no path of this torrent can lie there"
        found.append(("seed-zenodo", "error", f"{text}: list it for torrents of one file"))
    if parts.hostname in _REDIRECTING:
        text = f"{parts.hostname} redirects every file, which costs libtorrent 30 s each in a"
        found.append(("seed-redirects", "warning", f"{text} folder: give where it leads, or none"))
    if not seed.endswith("/"):
        text = "the web seed of a folder does not end in /, as BEP 19 wants it, though clients"
        found.append(("seed-slash", "warning", f"{text} mend that: add it"))
    return found


def _fits_zenodo(torrent: ParsedTorrent, base: str) -> bool:
    """Whether the files' paths are those of a Zenodo record: ``/records/<number>/files/<name>``."""
    if torrent.name != "files" or not _ZENODO_RECORD.fullmatch(base):
        return False
    return not any("/" in path for path, _ in torrent.files)


def _parts(seed: str) -> SplitResult | None:
    """Take a URL apart; None if it is none."""
    try:
        parts = urlsplit(seed)
        sound = parts.hostname and parts.port != 0 and _URL.fullmatch(seed)
    except ValueError:
        return None
    return parts if sound else None


def _binary(length: int) -> str:
    """Write a power of two, in bytes, as pieces are spoken of."""
    return f"{length >> 20} MiB" if length >= 1 << 20 else f"{length >> 10} KiB"
