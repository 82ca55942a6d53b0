"""Torrents that others made: taken up, checked against our bytes, offered, shown."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from sqlmodel import select

from fleet.cli import main as cli
from fleet.control import aliases, replicas, seeds, torrents, tracker
from fleet.control.errors import NotFoundError, RefusedError
from fleet.control.mirror import mirror_dataset
from fleet.control.rules import RuleSpec
from fleet.planning.states import ArtifactState
from fleet.store.database import Store
from fleet.store.tables import Artifact, Blob, Dataset, Shard, TorrentAlias, Transfer, Version
from fleet.torrent.bencode import decode, encode
from fleet.torrent.parsed import parse
from fleet.torrent.pieces import piece_count, piece_length
from tests.alias_support import HYBRID, KIB, REAL, Held, changed, info_of, made
from tests.api_support import served
from tests.centre_support import Centre

LONE = {"raw/lone one.bin": 100 * KIB + 7}
BUNDLE = {"a.bin": 40 * KIB + 1, "empty": 0, "raw/b.bin": 20 * KIB, "raw/c": 5}
CANONICAL = 256 * KIB

Hold = Callable[[dict[str, int]], Held]


@pytest.fixture
def hold(centre: Centre, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hold:
    return lambda sizes: Held(centre, tmp_path / "disk", monkeypatch, sizes)


@pytest.fixture
def hold_once(sqlite_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hold:
    """The same on SQLite alone, where the database is not the point."""
    centre = Centre(sqlite_store, tmp_path)
    centre.apply_sites("toronto", "amsterdam", "netcup")
    centre.open_doors()
    return lambda sizes: Held(centre, tmp_path / "disk", monkeypatch, sizes)


def lone(held: Held) -> bytes:
    [data] = held.files.values()
    return data


def state(store: Store, torrent: bytes) -> tuple[str, str]:
    with store.read() as session:
        row = session.get_one(TorrentAlias, parse(torrent).infohash)
    return row.state, row.reason


def test_a_lone_file_in_other_pieces_is_read_and_then_seeded(hold: Hold, tmp_path: Path) -> None:
    held = hold(LONE)
    store = held.centre.store
    torrent = made(tmp_path, "other name.bin", {"": lone(held)})
    infohash = parse(torrent).infohash
    before = seeds.desired(store, "toronto").revision

    adopted = aliases.adopt(store, torrent, within=held.version)

    assert (adopted.state, adopted.infohash) == ("unchecked", infohash)
    assert adopted.reason == "its pieces are to be read at amsterdam"
    assert seeds.desired(store, "toronto").revision == before
    [order] = held.checks()
    assert (order.site, order.piece_length, order.stream) == (
        "amsterdam",
        16 * KIB,
        len(lone(held)),
    )
    assert state(store, torrent) == ("verified", "every piece was read at amsterdam")
    assert seeds.desired(store, "toronto").revision not in {"", before}
    [own, alias] = held.centre.seeds("toronto")
    assert own.inside == ""
    assert alias.model_dump() == {
        "infohash": infohash,
        "shard": own.shard,
        "folder": held.place("raw/lone one.bin"),
        "name": "other name.bin",
        "size": len(lone(held)),
        "inside": "other name.bin",
        "peers": (),
    }
    assert held.checks() == []


def test_sites_that_hold_a_shard_are_told_of_its_new_alias(hold_once: Hold, tmp_path: Path) -> None:
    held = hold_once(LONE)
    held.centre.wakeups()
    torrent = made(tmp_path, "lone one.bin", {"": lone(held)}, piece=CANONICAL, private=True)
    aliases.adopt(held.centre.store, torrent)
    told = {row.site_id for row in held.centre.wakeups() if row.task == "seed"}
    assert told == {"toronto", "amsterdam", "netcup"}


def test_a_torrent_in_the_shards_own_pieces_needs_no_reading(
    hold_once: Hold, tmp_path: Path
) -> None:
    held = hold_once(LONE)
    torrent = made(tmp_path, "lone one.bin", {"": lone(held)}, piece=CANONICAL, private=True)
    adopted = aliases.adopt(held.centre.store, torrent)
    assert (adopted.state, adopted.reason) == ("verified", "its pieces are the shard's own")
    assert held.checks() == []
    assert adopted.infohash in {
        seed.infohash for seed in seeds.desired(held.centre.store, "netcup").seeds
    }


def test_a_folder_in_another_order_is_laid_out_as_the_torrent_has_it(
    hold_once: Hold, tmp_path: Path
) -> None:
    held = hold_once(BUNDLE)
    mixed = {path: held.files[path] for path in ("raw/c", "raw/b.bin", "empty", "a.bin")}
    torrent = made(tmp_path, "somebody's copy", mixed)
    assert aliases.adopt(held.centre.store, torrent).state == "unchecked"
    [order] = held.checks()
    assert {item.path: item.offset for item in order.items} == {
        "raw/c": 0,
        "raw/b.bin": 5,
        "empty": 20 * KIB + 5,
        "a.bin": 20 * KIB + 5,
    }
    assert state(held.centre.store, torrent)[0] == "verified"
    alias = held.centre.seeds("toronto")[-1]
    assert (alias.inside, alias.folder) == ("somebody's copy", f"data/{held.label}")


@pytest.mark.parametrize("sizes", [BUNDLE, LONE], ids=["folder", "lone file"])
def test_a_hybrid_is_checked_with_its_padding_and_its_roots(
    sizes: dict[str, int], hold_once: Hold, tmp_path: Path
) -> None:
    held = hold_once(sizes)
    files = held.files if sizes is BUNDLE else {"": lone(held)}
    name = "data" if sizes is BUNDLE else "lone one.bin"
    torrent = made(tmp_path, name, files, flags=HYBRID)
    assert bool(parse(torrent).padding) is (sizes is BUNDLE)
    assert aliases.adopt(held.centre.store, torrent).state == "unchecked"
    [order] = held.checks()
    assert order.stream == parse(torrent).size
    assert "bep52" in order.digests
    assert state(held.centre.store, torrent)[0] == "verified"


def test_a_hybrid_whose_v2_half_is_of_other_bytes_is_refused(
    hold_once: Hold, tmp_path: Path
) -> None:
    held = hold_once(BUNDLE)
    good = parse(made(tmp_path / "good", "data", held.files, flags=HYBRID))
    other = {path: data[::-1] for path, data in held.files.items()}
    torrent = changed(made(tmp_path / "bad", "data", other, flags=HYBRID), pieces=good.pieces)
    bare = encode({b"info": decode(info_of(torrent))})
    with pytest.raises(RefusedError, match=r"the piece layer of 'data/a.bin' is missing"):
        aliases.adopt(held.centre.store, bare)
    aliases.adopt(held.centre.store, torrent)
    held.checks()
    found = state(held.centre.store, torrent)
    assert found[0] == "refused"
    assert found[1].startswith("the v2 root of 'data/a.bin' is ")


@pytest.mark.parametrize("piece", [CANONICAL, 16 * KIB], ids=["told at once", "read at a site"])
def test_wrong_pieces_are_refused_with_the_first_one_named(
    piece: int, hold_once: Hold, tmp_path: Path
) -> None:
    held = hold_once({"lone.bin": 600 * KIB})
    wrong = bytearray(lone(held))
    wrong[300 * KIB] ^= 1
    wrong[599 * KIB] ^= 1
    torrent = made(tmp_path, "lone.bin", {"": bytes(wrong)}, piece=piece)
    aliases.adopt(held.centre.store, torrent)
    assert len(held.checks()) == (piece != CANONICAL)
    found = state(held.centre.store, torrent)
    first, count = 300 * KIB // piece, -(-600 * KIB // piece)
    assert found[0] == "refused"
    assert found[1].startswith(
        f"piece {first} of {count} (bytes {first * piece} to {first * piece + piece - 1}, in "
        "'lone.bin') has sha1 "
    )
    assert found[1].endswith("; 2 in all differ")
    assert len(held.centre.seeds("toronto")) == 1
    with held.centre.store.read() as session, pytest.raises(NotFoundError):
        torrents.torrent_file(session, parse(torrent).infohash)
    again = aliases.adopt(held.centre.store, torrent)
    assert again.state == ("refused" if piece == CANONICAL else "unchecked")


def test_a_corrupt_file_does_not_refuse_the_torrent(hold: Hold, tmp_path: Path) -> None:
    held = hold(LONE)
    torrent = made(tmp_path / "made", "lone one.bin", {"": lone(held)})
    aliases.adopt(held.centre.store, torrent)
    good, place = lone(held), held.root / held.place("raw/lone one.bin")
    place.write_bytes(b"?" * len(good))
    held.centre.tick()
    [order] = held.centre.orders()
    place.write_bytes(good)  # what the worker saw was not that
    held.centre.report_but(
        order,
        order.items[0].path,
        lambda artifact: (
            held.centre.outcome(order)
            .items[0]
            .model_copy(update={"ok": False, "fault": "corrupt", "reason": "it is corrupt"})
        ),
    )
    assert state(held.centre.store, torrent)[0] == "unchecked"
    held.checks()  # the copy is made anew, and what arrives is read
    assert state(held.centre.store, torrent)[0] == "verified"


def test_pieces_that_were_not_reported_are_asked_for_again(hold_once: Hold, tmp_path: Path) -> None:
    held = hold_once(LONE)
    torrent = made(tmp_path, "lone one.bin", {"": lone(held)})
    aliases.adopt(held.centre.store, torrent)
    held.centre.tick()
    [order] = held.centre.orders()
    verdict = held.centre.report(order, pieces=None)
    assert (
        verdict.reason == f"the outcome lacks the pieces of the torrent {parse(torrent).infohash}"
    )
    [transfer] = held.centre.transfers(kind="verify")
    assert transfer.state == "waiting"
    assert len(held.centre.transfers(kind="verify")) == 1


def test_taken_up_twice_it_is_one_alias_and_one_check(hold_once: Hold, tmp_path: Path) -> None:
    held = hold_once(LONE)
    torrent = made(tmp_path, "lone one.bin", {"": lone(held)})
    first = aliases.adopt(held.centre.store, torrent)
    assert aliases.adopt(held.centre.store, torrent) == first
    assert len(held.checks()) == 1
    assert aliases.adopt(held.centre.store, torrent).state == "verified"
    assert held.checks() == []


def test_a_shards_own_torrent_is_said_to_be_that(hold_once: Hold) -> None:
    held = hold_once(BUNDLE)
    with held.centre.store.read() as session:
        shard = session.exec(select(Shard).where(Shard.name != "manifest.json")).one()
        own = torrents.torrent_file(session, shard.infohash or "")
    adopted = aliases.adopt(held.centre.store, own)
    assert (adopted.state, adopted.shard) == ("canonical", shard.id)
    with held.centre.store.read() as session:
        assert session.exec(select(TorrentAlias)).all() == []


def test_what_is_held_by_nobody_verified_is_checked_when_it_arrives(
    hold_once: Hold, tmp_path: Path
) -> None:
    held = hold_once(LONE)
    store = held.centre.store
    with store.write() as session:
        shard = session.exec(select(Shard).where(Shard.name != "manifest.json")).one().id
        for site in ("toronto", "amsterdam", "netcup"):
            replicas.doubt(session, shard, site, "a test doubts it", store.now(session))
    torrent = made(tmp_path, "lone one.bin", {"": lone(held)})
    adopted = aliases.adopt(store, torrent)
    assert adopted.reason == "no site that could read them holds its bytes verified"
    orders = held.checks()
    assert len([order for order in orders if order.stream is not None]) == 1
    assert state(store, torrent)[0] == "verified"


def test_a_torrent_of_a_file_that_is_not_held_is_refused_by_its_name(
    hold_once: Hold, tmp_path: Path
) -> None:
    held = hold_once(BUNDLE)
    more = held.files | {"raw/more.bin": b"more"}
    with pytest.raises(RefusedError, match=r"'data/raw/more.bin' of 4 bytes is not held: "):
        aliases.adopt(held.centre.store, made(tmp_path / "1", "data", more))
    grown = held.files | {"a.bin": b"x", "raw/c": b"y"}
    with pytest.raises(RefusedError, match=r"'data/a.bin' of 1 bytes .* \(and 1 more of its files"):
        aliases.adopt(held.centre.store, made(tmp_path / "2", "data", grown))
    fewer = {path: data for path, data in held.files.items() if path != "a.bin"}
    with pytest.raises(RefusedError, match="its 3 files are held, but are not exactly those of"):
        aliases.adopt(held.centre.store, made(tmp_path / "3", "data", fewer))
    with pytest.raises(RefusedError, match="not a torrent: bencoding is wrong"):
        aliases.adopt(held.centre.store, b"<html>")
    with pytest.raises(NotFoundError, match="there is no version or dataset 'census'"):
        aliases.adopt(held.centre.store, made(tmp_path / "4", "data", held.files), within="census")


def test_a_torrent_that_fits_several_versions_asks_which(hold_once: Hold, tmp_path: Path) -> None:
    held = hold_once(LONE)
    [path] = held.files
    size, store = len(lone(held)), held.centre.store
    held.files[path] = bytes(size)  # the next version's bytes, of the same name and size
    first = held.version
    source = str(held.centre.folder / "source")
    second = mirror_dataset(store, source, RuleSpec(), dataset="data", label="second").version
    held.centre.work()
    torrent = made(tmp_path, "lone one.bin", {"": bytes(size)})
    with pytest.raises(
        RefusedError, match=r"several shards .*: say which version it is of"
    ) as told:
        aliases.adopt(store, torrent)
    assert first in str(told.value)
    assert second in str(told.value)
    assert aliases.adopt(store, torrent, within=second).version == "second"
    # in the shards' own pieces, these tell them apart
    told_apart = made(
        tmp_path / "2", "lone one.bin", {"": bytes(size)}, piece=CANONICAL, private=True
    )
    adopted = aliases.adopt(store, told_apart)
    assert (adopted.version, adopted.state) == ("second", "verified")


def test_an_aliass_torrent_is_its_own_with_our_links(hold_once: Hold, tmp_path: Path) -> None:
    held = hold_once(LONE)
    torrent = made(tmp_path, "another.bin", {"": lone(held)}, flags=HYBRID)
    infohash = parse(torrent).infohash
    held.centre.apply_sites("toronto", peer="toronto.example:6881")
    with served(held.centre) as api:
        assert api.get(f"/api/v1/torrents/{infohash}.torrent").status_code == 404
        aliases.adopt(held.centre.store, torrent, within="data")
        assert api.get(f"/api/v1/torrents/{infohash}.torrent").status_code == 404
        held.checks()
        held.centre.prove()
        public = api.get(f"/api/v1/torrents/{infohash}.torrent").content
        assert api.ask("toronto", "GET", f"seeds/{infohash}.torrent").content == public
        link = api.get(f"/api/v1/torrents/{infohash}.magnet").text
    found = parse(public)
    assert info_of(public) == info_of(torrent)
    assert b"12:piece layers" in public
    assert found.trackers == ()
    name = f"data, version {held.label}"
    assert found.comment.startswith(f"{name}: each file is proved by its SHA-256")
    assert f" / {name} : chaque fichier est prouvé par son SHA-256" in found.comment
    places = {
        f"http://{site}.example/data/{held.label}/raw/lone%20one.bin"
        for site in ("toronto", "amsterdam", "netcup")
    }
    assert set(found.web_seeds) == places
    fields = parse_qs(urlsplit(link).query)
    assert fields["xt"] == [f"urn:btih:{infohash}"]
    assert fields["x.pe"] == ["toronto.example:6881"]
    assert set(fields["ws"]) == places


def test_an_alias_of_withdrawn_bytes_is_gone_until_another_version_has_them(
    hold_once: Hold, tmp_path: Path
) -> None:
    held = hold_once(LONE)
    torrent = made(tmp_path, "another.bin", {"": lone(held)}, flags=HYBRID)
    infohash, store = parse(torrent).infohash, held.centre.store
    held.centre.apply_sites("toronto", peer="toronto.example:6881")
    aliases.adopt(store, torrent, within="data")
    held.checks()
    held.centre.prove()
    with store.write() as session:
        session.get_one(Version, held.version).state = "withdrawn"
    with served(held.centre) as api:
        for kind in ("torrent", "magnet"):
            assert api.get(f"/api/v1/torrents/{infohash}.{kind}").status_code == 404
        assert infohash not in tracker.allowed(store)
        source = str(held.centre.folder / "source")
        mirror_dataset(store, source, RuleSpec(), dataset="data", label="second")
        held.centre.work()
        found = parse(api.get(f"/api/v1/torrents/{infohash}.torrent").content)
    assert found.comment.startswith("data, version second: ")
    assert infohash in tracker.allowed(store)


def test_a_folders_web_seeds_are_those_where_clients_find_its_names(
    hold_once: Hold, tmp_path: Path
) -> None:
    held = hold_once(BUNDLE)
    fits = made(tmp_path / "1", held.label, held.files)
    other = made(tmp_path / "2", "elsewhere", held.files)
    for torrent in (fits, other):
        aliases.adopt(held.centre.store, torrent)
    held.checks()
    held.centre.prove()
    with held.centre.store.read() as session:
        seeds_of = [
            set(parse(torrents.torrent_file(session, parse(one).infohash)).web_seeds)
            for one in (fits, other)
        ]
    assert seeds_of == [
        {f"http://{site}.example/data/" for site in ("toronto", "amsterdam", "netcup")},
        set(),
    ]


def test_aliases_are_shown_with_their_shards_torrent(hold_once: Hold, tmp_path: Path) -> None:
    held = hold_once(LONE)
    torrents = {
        "verified": made(tmp_path / "1", "first", {"": lone(held)}),
        "refused": made(tmp_path / "2", "second", {"": lone(held)[::-1]}),
    }
    for torrent in torrents.values():
        aliases.adopt(held.centre.store, torrent, within="data")
    held.checks()
    torrents["unchecked"] = made(tmp_path / "3", "third", {"": lone(held)}, piece=32 * KIB)
    aliases.adopt(held.centre.store, torrents["unchecked"], within="data")
    uploaded = {"state": "seeding", "uploaded": 5000}
    with served(held.centre) as api:
        [_manifest, shown] = api.get("/api/v1/datasets/data").json()["torrents"]
        both = (shown["infohash"], parse(torrents["verified"]).infohash)
        report = [uploaded | {"infohash": infohash} for infohash in both]
        api.ask("toronto", "POST", "seeds/report", json=report)
        copies = api.get("/api/v1/datasets/data").json()["copies"]
        pages = [api.get(f"/{language}/datasets/data").text for language in ("en", "fr")]
    assert {one["infohash"]: one["state"] for one in shown["aliases"]} == {
        parse(torrent).infohash: name for name, torrent in torrents.items()
    }
    assert all(one["reason"] for one in shown["aliases"])
    assert {one["site"]: one["uploaded"] for one in copies}["toronto"] == 10_000
    for page, words in zip(pages, ("also seeded as", "aussi partagé comme"), strict=True):
        assert page.count(words) == 3
        links = {name: f"{parse(one).infohash}.torrent" in page for name, one in torrents.items()}
        assert links == {"verified": True, "refused": False, "unchecked": False}


@pytest.mark.skipif(not REAL.is_dir(), reason="the real torrents are not on this machine")
def test_the_real_torrents_are_taken_up_unchecked(sqlite_store: Store) -> None:
    found = {path: parse(path.read_bytes()) for path in sorted(REAL.glob("*.torrent"))}
    assert len(found) == 9
    for path, torrent in found.items():
        _known(sqlite_store, path.name.removesuffix(".torrent"), torrent.name, torrent.size)
    for path, torrent in found.items():
        adopted = aliases.adopt(sqlite_store, path.read_bytes())
        assert adopted.infohash == torrent.infohash
        assert adopted.dataset == path.name.removesuffix(".torrent")
        assert adopted.state == "unchecked"
        assert "no site" in adopted.reason


def _known(store: Store, dataset: str, name: str, size: int) -> None:
    """Note a version of one large file, whose bytes nobody holds."""
    with store.write() as session:
        now = store.now(session)
        session.add(Dataset(id=dataset, created_at=now))
        session.flush()
        version = Version(dataset_id=dataset, label="2025", created_at=now)
        session.add(version)
        session.flush()
        length = piece_length(size)
        pieces = Blob(sha256=dataset, data=bytes(20 * piece_count(size, length)), created_at=now)
        session.add(pieces)
        shard = Shard(
            version_id=version.id,
            position=0,
            size=size,
            files=1,
            piece_length=length,
            pieces=dataset,
            infohash=f"the torrent of {dataset}",
            name=name,
            folder=f"{dataset}/2025/tiles",
        )
        session.add(shard)
        session.flush()
        session.add(
            Artifact(
                version_id=version.id,
                path=f"tiles/{name}",
                size=size,
                state=ArtifactState.KNOWN,
                shard_id=shard.id,
                offset=0,
            )
        )


def _run(
    held: Held, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str
) -> tuple[int, str, str]:
    monkeypatch.setenv("FLEET_DATABASE_URL", str(held.centre.store.engine.url))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(sys, "argv", ["fleet", "torrent", "adopt", *words])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    out, err = capsys.readouterr()
    return int(caught.value.code or 0), out, err


def test_the_command_takes_up_each_and_tells_of_the_others(
    hold_once: Hold,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    held = hold_once(LONE)
    good, bad = tmp_path / "good.torrent", tmp_path / "bad.torrent"
    good.write_bytes(
        made(tmp_path / "made", "lone one.bin", {"": lone(held)}, piece=CANONICAL, private=True)
    )
    bad.write_bytes(b"<html>")
    gone = str(tmp_path / "gone.torrent")

    code, out, err = _run(held, monkeypatch, capsys, str(good), str(bad), gone)
    assert code == 3
    assert "verified" in out
    assert parse(good.read_bytes()).infohash in out
    assert [line.split(": ")[1] for line in err.splitlines()] == [str(bad), gone]

    code, out, err = _run(held, monkeypatch, capsys, str(bad))
    assert (code, out) == (1, "")
    assert err.startswith(f"fleet: {bad}: not a torrent: ")

    code, out, _ = _run(held, monkeypatch, capsys, str(good), "--version", "data", "--json")
    assert code == 0
    [told] = json.loads(out)
    assert (told["file"], told["dataset"], told["state"]) == (str(good), "data", "verified")


def test_a_check_that_is_suspended_waits_for_a_person(hold_once: Hold, tmp_path: Path) -> None:
    held = hold_once(LONE)
    torrent = made(tmp_path, "lone one.bin", {"": lone(held)})
    aliases.adopt(held.centre.store, torrent)
    with held.centre.store.write() as session:
        session.exec(select(Transfer).where(Transfer.kind == "verify")).one().state = "suspended"
    aliases.adopt(held.centre.store, torrent)
    assert len(held.centre.transfers(kind="verify")) == 1
