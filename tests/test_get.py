"""`fleet get`: a version from the mirrors that a signed catalogue names, whoever of them lies."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.get_support import DATASET, LABEL, User, World, made, world
from tests.pull_support import noise
from workers.pull import mirror

MIB = 1024 * 1024
BODY = noise(20 * MIB + 345)


@pytest.fixture
def there(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path) as found:
        yield found


@pytest.fixture
def user(
    there: World,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> User:
    monkeypatch.setenv("FLEET_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("FLEET_ALLOW_NETWORKS", "127.0.0.0/8")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(mirror, "FIRST_WAIT", 0.01)
    return User(there, tmp_path / "data", monkeypatch, capsys)


def test_a_version_comes_whole_from_several_mirrors(there: World, user: User) -> None:
    version = there.tell(made({"census.parquet": BODY}), "amsterdam", "toronto")
    there.serve(version, "amsterdam", "toronto")

    ended = user.get(DATASET)

    assert (ended.code, ended.err) == (0, ""), ended
    assert user.files() == version.files
    assert f"{DATASET}@{LABEL}: 2 of 2 files" in ended.out
    for site in ("amsterdam", "toronto"):
        assert there.mirrors[site].sent[there.at("census.parquet")] > 0


def test_a_mirror_with_wrong_bytes_is_named_and_the_right_ones_are_delivered(
    there: World, user: User
) -> None:
    version = there.tell(made({"census.parquet": BODY}), "amsterdam", "toronto")
    there.serve(version, "amsterdam", "toronto")
    there.lie("amsterdam", "census.parquet", BODY)

    ended = user.get(DATASET, "--json")

    assert ended.code == 0, ended
    assert user.files() == version.files
    (lie,) = ended.json["corrupt"]
    assert (lie["site"], lie["path"]) == ("amsterdam", "census.parquet")
    assert lie["url"] == there.mirrors["amsterdam"].url(there.at("census.parquet"))
    assert lie["wrong"]


def test_where_all_mirrors_have_wrong_bytes_nothing_is_seen(there: World, user: User) -> None:
    version = there.tell(made({"census.parquet": BODY}), "amsterdam", "toronto")
    there.serve(version, "amsterdam", "toronto")
    for site in ("amsterdam", "toronto"):
        there.lie(site, "census.parquet", BODY)

    ended = user.get(DATASET, "census.parquet")

    assert (ended.code, ended.out) == (1, ""), ended
    assert user.files() == {}
    assert "amsterdam sent wrong bytes of http" in ended.err
    assert "toronto sent wrong bytes of http" in ended.err
