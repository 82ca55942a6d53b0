"""The committed table of what clients do with our torrents is what they do here and now."""

from collections.abc import Iterator

import pytest

from tests.torrent_clients import (
    CELLS,
    DOCUMENT,
    IMPATIENCE,
    PATIENCE,
    REASONS,
    Stage,
    committed,
    reason,
    render,
    stage,
)
from tests.torrent_drivers import CLIENTS, Client


@pytest.fixture(scope="module")
def around(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with stage(tmp_path_factory.mktemp("clients")) as made:
        yield made


def test_the_table_is_as_it_was_written_and_names_every_client() -> None:
    rows = committed()
    assert list(rows) == [client.name for client in CLIENTS]
    assert all(tuple(row.done) == CELLS for row in rows.values())
    assert render(rows) == DOCUMENT.read_text()


def test_every_failure_has_its_reason_and_every_reason_a_failure() -> None:
    failed = {
        (name, cell) for name, row in committed().items() for cell in CELLS if not row.done[cell]
    }
    assert all(reason(name, cell) for name, cell in failed)
    assert failed == {(name, cell) for name, cells, _ in REASONS for cell in cells}


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.name)
def test_a_client_does_what_the_table_says(client: Client, around: Stage) -> None:
    if missing := client.missing():
        pytest.skip(missing)
    row = committed()[client.name]
    if client.version() != row.version:
        pytest.skip(f"the table is of {client.name} {row.version}, not of {client.version()}")
    wrong = []
    for cell in CELLS:
        wanted = row.done[cell]
        done, output = around.download(client, cell, PATIENCE if wanted else IMPATIENCE)
        if done != wanted:
            wrong.append((cell, "downloaded" if done else output))
    assert not wrong, "`python -m tests.torrent_clients` measures and writes the table anew"
