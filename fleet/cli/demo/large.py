"""The sample's larger files: PMTiles, GeoParquet and two zip archives, made up but well formed."""

import io
import json
import struct
import zipfile
from collections.abc import Iterator
from random import Random

import pyarrow as pa
import pyarrow.parquet as pq

CANADA = (-141.0, 41.7, -52.6, 83.1)
"""West, south, east and north, in degrees."""

PMTILES_HEADER_BYTES = 127
PMTILES_MAX_ZOOM = 5
PMTILES_TILES = (4 ** (PMTILES_MAX_ZOOM + 1) - 1) // 3
"""Every tile of the zoom levels from 0 on."""

_ORTHOIMAGERY_BYTES = 150_000_000
_ADDRESSES = 300_000
_PROFILE_ROWS = 150_000
_BOUNDARY_BYTES = 25_000_000


def pmtiles(random: Random, scale: float) -> Iterator[bytes]:
    """Make a PMTiles archive of 150 MB, its tiles as incompressible as real images.

    The layout is that of the PMTiles specification, version 3: header, root directory, JSON
    metadata, and the tiles in the order of their ids; nothing is compressed.
    """
    typical = max(round(_ORTHOIMAGERY_BYTES * scale) // PMTILES_TILES, 8)
    lengths = [random.randint(typical * 3 // 4, typical * 5 // 4) for _ in range(PMTILES_TILES)]
    directory = _pmtiles_directory(lengths)
    metadata = json.dumps({"name": "Orthoimagery 2021", "description": "Made up for a demo"})
    yield _pmtiles_header(len(directory), len(metadata), sum(lengths))
    yield directory
    yield metadata.encode()
    for length in lengths:
        yield random.randbytes(length)


def _pmtiles_header(directory: int, metadata: int, tiles: int) -> bytes:
    metadata_at = PMTILES_HEADER_BYTES + directory
    tiles_at = metadata_at + metadata
    west, south, east, north = (round(degrees * 10_000_000) for degrees in CANADA)
    no_compression, unknown_type = 1, 0
    return struct.pack(
        "<7sB11Q6B4iB2i",
        *(b"PMTiles", 3),
        *(PMTILES_HEADER_BYTES, directory, metadata_at, metadata),
        *(tiles_at, 0, tiles_at, tiles),  # there are no leaf directories
        *(PMTILES_TILES, PMTILES_TILES, PMTILES_TILES),
        *(1, no_compression, no_compression, unknown_type, 0, PMTILES_MAX_ZOOM),
        *(west, south, east, north),
        *(3, (west + east) // 2, (south + north) // 2),
    )


def _pmtiles_directory(lengths: list[int]) -> bytes:
    """Lay out a directory's columns: count, ids (as differences), runs, lengths, offsets.

    An offset of 0 says "right after the one before"; any other is written plus one.
    """
    count = len(lengths)
    columns = [count, 0, *[1] * (count - 1), *[1] * count, *lengths, 1, *[0] * (count - 1)]
    return b"".join(map(_varint, columns))


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def geoparquet(random: Random, scale: float) -> Iterator[bytes]:
    """Make a GeoParquet 1.1 file of addresses: points as WKB in longitude and latitude."""
    rows = max(round(_ADDRESSES * scale), 10)
    west, south, east, north = CANADA
    uniform = random.random
    points = struct.Struct("<BIdd").pack
    width, height = east - west, north - south
    geometry = [
        points(1, 1, west + width * uniform(), south + height * uniform()) for _ in range(rows)
    ]
    guids = random.randbytes(16 * rows).hex()
    table = pa.table(
        {
            "addr_guid": pa.array([guids[at : at + 32] for at in range(0, 32 * rows, 32)]),
            "csd_dguid": pa.array(
                [f"2021A0005{code}" for code in random.choices(range(1_001_101, 6_208_081), k=rows)]
            ),
            "civic_no": pa.array(random.choices(range(1, 9999), k=rows), pa.int32()),
            "geometry": pa.array(geometry, pa.binary()),
        }
    )
    column = {"encoding": "WKB", "geometry_types": ["Point"], "bbox": list(CANADA)}
    geo = {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}
    out = io.BytesIO()
    pq.write_table(table.replace_schema_metadata({"geo": json.dumps(geo)}), out, compression="zstd")
    yield out.getvalue()


def csv_zip(random: Random, scale: float) -> Iterator[bytes]:
    """Make a zip archive of a census profile as CSV."""
    lines = ["CENSUS_YEAR,DGUID,ALT_GEO_CODE,CHARACTERISTIC_ID,C1_TOTAL,C2_MEN+,C10_RATE_TOTAL"]
    for row in range(max(round(_PROFILE_ROWS * scale), 10)):
        area, number = divmod(row, 2631)
        men, women = random.getrandbits(16), random.getrandbits(16)
        place = f"2021S0512{area:08},{area:08}"
        lines.append(f"2021,{place},{number + 1},{men + women},{men},{women % 1000 / 10}")
    text = "\r\n".join(lines).encode()
    yield _zip({"98-401-X2021006_English_CSV_data.csv": text}, zipfile.ZIP_DEFLATED)


def boundary_zip(random: Random, scale: float) -> Iterator[bytes]:
    """Make a zip archive with the parts of a shapefile, stored as they are."""
    size = max(round(_BOUNDARY_BYTES * scale), 1000)
    parts = {
        "lda_000b21a_e.shp": struct.pack(">I20xI", 9994, size // 2) + random.randbytes(size),
        "lda_000b21a_e.dbf": random.randbytes(size // 20),
        "lda_000b21a_e.prj": b'PROJCS["PCS_Lambert_Conformal_Conic"]',
    }
    yield _zip(parts, zipfile.ZIP_STORED)


def _zip(parts: dict[str, bytes], method: int) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method, compresslevel=1) as archive:
        for name, content in parts.items():
            entry = zipfile.ZipInfo(name, date_time=(2021, 11, 17, 0, 0, 0))
            entry.compress_type = method
            archive.writestr(entry, content, compresslevel=1)
    return out.getvalue()
