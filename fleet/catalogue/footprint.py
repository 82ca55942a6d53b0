"""Where on Earth a dataset is of: as its description says, or else as a rectangle made up for it.

STAC's readers and writers break on Items without a geometry, so that each gets one.  A made-up one
is the province that the dataset's id begins with (``ca-qc_…``), or all of Canada, and is flagged.
"""

from struct import pack, unpack_from
from typing import Any, Final, Literal

Box = tuple[float, float, float, float]
Ring = list[list[float]]
Geometry = dict[str, Any]
Origin = Literal["described", "province", "country"]

CANADA: Final[Box] = (-141.1, 41.6, -52.5, 83.2)
# Around their land and islands, rounded outwards to a tenth of a degree
PROVINCES: Final[dict[str, Box]] = {
    "ab": (-120.1, 48.9, -109.9, 60.1),
    "bc": (-139.1, 48.2, -114.0, 60.1),
    "mb": (-102.1, 48.9, -88.9, 60.1),
    "nb": (-69.1, 44.5, -63.7, 48.1),
    "nl": (-67.9, 46.5, -52.5, 60.5),
    "ns": (-66.5, 43.3, -59.6, 47.1),
    "nt": (-136.6, 59.9, -101.9, 78.9),
    "nu": (-121.1, 51.6, -61.0, 83.2),
    "on": (-95.2, 41.6, -74.3, 56.9),
    "pe": (-64.5, 45.9, -61.9, 47.1),
    "qc": (-79.8, 44.9, -57.0, 62.7),
    "sk": (-110.1, 48.9, -101.3, 60.1),
    "yt": (-141.1, 59.9, -123.7, 69.8),
}


def footprint(dataset: str, described: Box | None) -> tuple[Box, Origin]:
    """Return a dataset's rectangle (west, south, east, north), and where that is from."""
    if described is not None:
        return described, "described"
    country, _, province = dataset.partition("_")[0].lower().partition("-")
    if country == "ca" and province in PROVINCES:
        return PROVINCES[province], "province"
    return CANADA, "country"


def geometry(box: Box) -> Geometry:
    """Draw a rectangle; one that crosses the 180th meridian is cut in two there."""
    west, south, east, north = box
    if west <= east:
        return {"type": "Polygon", "coordinates": [_ring(box)]}
    halves = ((west, south, 180.0, north), (-180.0, south, east, north))
    return {"type": "MultiPolygon", "coordinates": [[_ring(half)] for half in halves]}


def to_wkb(drawn: Geometry) -> bytes:
    """Write what ``geometry`` drew as well-known binary."""
    if drawn["type"] == "Polygon":
        return _polygon(drawn["coordinates"])
    polygons = [_polygon(one) for one in drawn["coordinates"]]
    return pack("<BII", 1, 6, len(polygons)) + b"".join(polygons)


def from_wkb(data: bytes) -> Geometry:
    """Read what ``to_wkb`` wrote."""
    _, kind, count = unpack_from("<BII", data)
    if kind == 3:
        return {"type": "Polygon", "coordinates": [_read_ring(data, 9)]}
    step = (len(data) - 9) // count
    rings = [[_read_ring(data, 9 + number * step + 9)] for number in range(count)]
    return {"type": "MultiPolygon", "coordinates": rings}


def _ring(box: Box) -> Ring:
    west, south, east, north = box
    return [[west, south], [east, south], [east, north], [west, north], [west, south]]


def _polygon(rings: list[Ring]) -> bytes:
    [ring] = rings
    points = [degree for point in ring for degree in point]
    return pack(f"<BIII{len(points)}d", 1, 3, 1, len(ring), *points)


def _read_ring(data: bytes, at: int) -> Ring:
    (count,) = unpack_from("<I", data, at)
    points = unpack_from(f"<{2 * count}d", data, at + 4)
    return [list(points[one : one + 2]) for one in range(0, 2 * count, 2)]
