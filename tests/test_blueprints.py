"""A bundle that comes with a source is an artifact like the others, and a manifest lists them."""

import hashlib
import io
import sys
import tarfile
from pathlib import Path

import pytest
from sqlmodel import Session, select

from fleet.blueprint import manifest
from fleet.blueprint.manifest import File
from fleet.cli import main as cli
from fleet.control import blueprints, manifests, mirror
from fleet.control import kept as kept_files
from fleet.control.blueprints import Blueprint
from fleet.control.errors import RefusedError
from fleet.messages import ItemResult
from fleet.settings import CentreSettings
from fleet.store.tables import Artifact, Version
from tests.api_support import Api, served
from tests.centre_support import Centre, content

SOURCES = f"{'0' * 64}  https://a.example/1.zip\n"


@pytest.fixture
def blueprint(tmp_path: Path) -> Blueprint:
    code = tmp_path / "code"
    code.mkdir()
    (code / "main.py").write_text("print()\n")
    (code / ".env").write_text("TOKEN=1\n")
    (tmp_path / "conda.lock").write_text("gdal\n")
    (tmp_path / "sources.txt").write_text(SOURCES)
    return Blueprint(code, "", (tmp_path / "conda.lock",), tmp_path / "sources.txt")


@pytest.fixture
def listing(tmp_path: Path) -> Path:
    made = tmp_path / "list.txt"
    made.write_text("https://origin.example/a.csv\n")
    return made


def _artifacts(session: Session) -> dict[str, Artifact]:
    return {one.path: one for one in session.exec(select(Artifact)).all()}


def test_a_bundle_is_kept_once_under_its_digest(tmp_path: Path, blueprint: Blueprint) -> None:
    settings = CentreSettings(home=tmp_path / "home")
    kept = blueprints.keep(settings, blueprint)
    assert blueprints.keep(settings, blueprint) == kept
    assert kept.notes == ("left out, since secrets have such names: .env",)
    place = kept_files.place(settings, kept.artifact.sha256 or "")
    assert list(place.parent.iterdir()) == [place]
    data = place.read_bytes()
    assert hashlib.sha256(data).hexdigest() == kept.artifact.sha256
    assert len(data) == kept.artifact.size
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        assert tar.getnames() == ["blueprint.json", "code/main.py", "environment/conda.lock"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"code": Path("absent")}, "absent cannot be read: No such file"),
        ({"commit": "main"}, "is no full commit id"),
        ({"commit": "1" * 40}, "is no git repository"),
        ({"sources": Path("absent.txt")}, r"absent\.txt cannot be read"),
        ({"environment": (Path("absent.lock"),)}, r"absent\.lock cannot be read"),
    ],
)
def test_what_cannot_be_bundled_is_refused_and_nothing_is_kept(
    tmp_path: Path, blueprint: Blueprint, change: dict[str, object], said: str
) -> None:
    settings = CentreSettings(home=tmp_path / "home")
    changed = Blueprint(**{**vars(blueprint), **change})  # type: ignore[arg-type]
    with pytest.raises(RefusedError, match=f"no bundle can be made: .*{said}"):
        blueprints.keep(settings, changed)
    assert list((tmp_path / "home" / "bundles").iterdir()) == []


def test_the_site_that_ingests_a_bundle_reads_it_from_the_centre(
    centre: Centre, tmp_path: Path, blueprint: Blueprint, listing: Path
) -> None:
    centre.settings = CentreSettings(home=tmp_path / "home")
    kept = blueprints.keep(centre.settings, blueprint)
    mirrored = mirror.mirror_dataset(centre.store, str(listing), bundle=kept)
    assert (mirrored.artifacts, mirrored.notes) == (2, kept.notes)
    with centre.store.read() as session:
        row = _artifacts(session)[blueprints.PATH]
        assert (row.role, row.sha256, row.size) == (
            "source",
            kept.artifact.sha256,
            kept.artifact.size,
        )
    with served(centre) as api:
        site, path, url = _ordered(api, row.id)
        assert url == f"{centre.settings.centre_url}/api/v1/worker/{path}"
        answer = api.ask(site, "GET", path)
        assert hashlib.sha256(answer.content).hexdigest() == row.sha256
        other = next(one for one in ("toronto", "amsterdam", "netcup") if one != site)
        assert api.ask(other, "GET", path).status_code == 404
        kept_files.place(centre.settings, row.sha256 or "").unlink()
        assert api.ask(site, "GET", path).status_code == 404


def _ordered(api: Api, artifact: str) -> tuple[str, str, str]:
    """Have the ingests claimed; return which site got an artifact, and where from."""
    api.centre.tick()
    [found] = [
        (order.site, item.sources[0].url)
        for order in api.centre.orders()
        for item in order.items
        if item.artifact == artifact
    ]
    return found[0], f"origins/{artifact}", found[1]


def test_a_source_that_has_a_file_of_the_bundles_name_is_refused(
    centre: Centre, tmp_path: Path, blueprint: Blueprint
) -> None:
    kept = blueprints.keep(CentreSettings(home=tmp_path / "home"), blueprint)
    for name in ("Blueprint.tar", "blueprint.tar/x"):
        listing = tmp_path / "other.txt"
        listing.write_text(f"https://origin.example/x\n  out={name}\n")
        with pytest.raises(RefusedError, match=f"the source has {name}"):
            mirror.mirror_dataset(centre.store, str(listing), bundle=kept)


def test_another_bundle_of_the_same_source_makes_another_version(
    centre: Centre, tmp_path: Path, blueprint: Blueprint, listing: Path
) -> None:
    settings = CentreSettings(home=tmp_path / "home")
    made = [
        mirror.mirror_dataset(
            centre.store, str(listing), bundle=blueprints.keep(settings, blueprint)
        ).version
        for _ in range(2)
    ]
    assert made[0] == made[1]
    (blueprint.code / "main.py").write_text("changed")
    kept = blueprints.keep(settings, blueprint)
    assert mirror.mirror_dataset(centre.store, str(listing), bundle=kept).version != made[0]


def test_the_command_bundles_what_made_a_source_and_tells_what_it_left_out(
    centre: Centre,
    tmp_path: Path,
    blueprint: Blueprint,
    listing: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    url = centre.store.engine.url.render_as_string(hide_password=False)
    monkeypatch.setenv("FLEET_DATABASE_URL", url)
    monkeypatch.setenv("FLEET_HOME", str(tmp_path / "home"))

    def run(*words: str) -> int:
        monkeypatch.setattr(sys, "argv", ["fleet", "mirror", str(listing), *words])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        return int(caught.value.code or 0)

    given = ["--environment", str(blueprint.environment[0]), "--sources", str(blueprint.sources)]
    assert run(*given) == 1
    assert "go with --code, which is missing" in capsys.readouterr().err
    assert run("--code", str(blueprint.code), *given) == 0
    out, err = capsys.readouterr()
    assert "2 files" in out
    assert err == "note: left out, since secrets have such names: .env\n"


def test_the_manifest_lists_what_is_known_and_where_anybody_may_have_it(centre: Centre) -> None:
    centre.mirror("b.csv", "a.csv?token=hush", "a.csv?download=1", "gone.csv")
    centre.tick()
    while orders := centre.orders():
        for order in orders:
            centre.report_but(order, "gone.csv", _lost)
        centre.tick()
    with centre.store.write() as session:
        [version] = session.exec(select(Version)).all()
        version.licence, version.licence_retrieved_at = "CC0-1.0", centre.store.now(session)
        rows = {path: row for path, row in _artifacts(session).items() if row.role != "manifest"}
    with centre.store.read() as session:
        data = manifests.of(session, session.get_one(Version, version.id))
        assert manifests.of(session, session.get_one(Version, version.id)) == data
    assert b"hush" not in data
    read = manifest.parse(data)
    assert (read.dataset, read.version, read.licence) == ("data", version.label, "CC0-1.0")
    assert str(read.retrieved) == "2026-03-01"
    assert read.files == tuple(
        File(
            path=path,
            size=len(content(path)),
            sha256=hashlib.sha256(content(path)).hexdigest(),
            media_type="text/csv",
            bep52_root=row.bep52_root,
            origins=tuple(one for one in row.origins if "hush" not in one),
        )
        for path, row in sorted(rows.items())
        if path != "gone.csv"
    )
    assert len(read.files) >= 2


def _lost(artifact: str) -> ItemResult:
    return ItemResult(artifact=artifact, ok=False, reason="404", final=True, fault="refused")
