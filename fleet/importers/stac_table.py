"""STAC in either form: JSON, or GeoParquet with a row for each Item and its assets in a struct.

A table is read in a process of its own (``table_reader``), which it may bring down.
"""

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryFile

from fleet.importers.documents import read_json, text_in
from fleet.importers.draft import Draft, ImportRefused, counted, show
from fleet.importers.stac import Found, add_assets, read_document

MAGIC = b"PAR1"
MAX_BYTES = 256 * 1024 * 1024
"""Most bytes of a table."""

_MAX_LINE = 1024 * 1024
# by its path, without the rest of this package: it starts in half the time
_READER = (sys.executable, "-P", str(Path(__file__).with_name("table_reader.py")))


def draft_of_stac(data: bytes, s3_endpoint: str) -> Draft:
    """Return the draft of a STAC document or table that lies on a disk.

    What it leads to is not read: the document's own word is all that is known of where that is.

    Raises:
        ImportRefused: it is none.
    """
    found = Found()
    read_stac(data, "", s3_endpoint, found)
    left = (
        f"left out {counted(len(found.links), 'document')} that it leads to: import it by its URL"
    )
    return found.draft([left] if found.links else [])


def read_stac(data: bytes, base: str, s3_endpoint: str, found: Found) -> None:
    """Add to ``found`` what a STAC document names, in whichever of its two forms.

    Args:
        data: the document.
        base: its URL, or empty.
        s3_endpoint: where an ``s3://`` reference is read.
        found: what was found before.

    Raises:
        ImportRefused: it is none.
    """
    read = _read_table if data.startswith(MAGIC) else read_document
    read(data, base, s3_endpoint, found)


def _read_table(data: bytes, base: str, s3_endpoint: str, found: Found) -> None:
    if len(data) > MAX_BYTES:
        raise ImportRefused(f"the table is larger than {MAX_BYTES:,} bytes")
    with TemporaryFile() as table:
        table.write(data)
        table.seek(0)
        with subprocess.Popen(
            _READER, stdin=table, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as reader:
            assert reader.stdout is not None
            try:
                while line := reader.stdout.readline(_MAX_LINE):
                    _take(line, base, s3_endpoint, found)
            except BaseException:
                reader.kill()
                raise
    if reader.returncode:
        raise ImportRefused("the table cannot be read: it is damaged, or takes too much memory")


def _take(line: bytes, base: str, s3_endpoint: str, found: Found) -> None:
    item = read_json(line)
    if "refused" in item:
        raise ImportRefused(f"the table cannot be read: {show(text_in(item, 'refused'))}")
    found.id = found.id or text_in(item, "id")
    add_assets(found, item, base, s3_endpoint)
