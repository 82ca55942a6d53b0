"""Where on Earth a dataset is of: as its description says, or else as a rectangle made up for it.

STAC's readers and writers break on Items without a geometry, so that each gets one.  A made-up one
is the province that the dataset's id begins with (``ca-qc_…``), or all of Canada, and is flagged.

Rules this module keeps:

- Every geometry is valid: a rectangle without a width or a height gets a tenth of a metre of each.
- One that ends at the 180th meridian does not cross it.
"""

from struct import error, pack, unpack_from
from typing import Any, Final, Literal

Box = tuple[float, float, float, float]
Ring = list[list[float]]
Geometry = dict[str, Any]
Origin = Literal["described", "province", "country"]

_NO_RECTANGLE: Final = "it has a geometry that is no rectangle of a catalogue"
_LEAST: Final = 5e-7  # degrees, to each side
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
        return _mended(described), "described"
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


def covering(box: Box) -> Box:
    """Return a rectangle around all of another that crosses no meridian, as filters want it."""
    west, south, east, north = box
    return box if west <= east else (-180.0, south, 180.0, north)


def meet(one: Box, other: Box) -> bool:
    """Say whether two rectangles have a place in common; each may cross the 180th meridian."""
    (west, south, east, north), (its_west, its_south, its_east, its_north) = one, other
    starts, ends = west <= its_east, east >= its_west
    crossing = (west > east) + (its_west > its_east)
    meets = (starts and ends, starts or ends, True)[crossing]
    return south <= its_north and north >= its_south and meets


def bounds(drawn: Geometry) -> Box:
    """Return the rectangle that ``geometry`` drew."""
    polygons = [drawn["coordinates"]] if drawn["type"] == "Polygon" else drawn["coordinates"]
    (west, south), (east, north) = polygons[0][0][0], polygons[-1][0][2]
    return west, south, east, north


def to_wkb(drawn: Geometry) -> bytes:
    """Write what ``geometry`` drew as well-known binary."""
    if drawn["type"] == "Polygon":
        return _polygon(drawn["coordinates"])
    polygons = [_polygon(one) for one in drawn["coordinates"]]
    return pack("<BII", 1, 6, len(polygons)) + b"".join(polygons)


def from_wkb(data: bytes) -> Geometry:
    """Read what ``to_wkb`` wrote.

    Raises:
        ValueError: something else did.
    """
    try:
        _, kind, count = unpack_from("<BII", data)
        if kind == 3:
            return {"type": "Polygon", "coordinates": [_read_ring(data, 9)]}
        if (kind, count) == (6, 2):
            half = (len(data) - 9) // 2
            rings = [[_read_ring(data, at)] for at in (9 + 9, 9 + half + 9)]
            return {"type": "MultiPolygon", "coordinates": rings}
    except error:
        pass  # it ends too early
    raise ValueError(_NO_RECTANGLE)


def _mended(box: Box) -> Box:
    west, south, east, north = box
    if west > east:
        west, east = (-180.0 if west == 180.0 else west, 180.0 if east == -180.0 else east)
    (west, east), (south, north) = _wide(west, east, 180.0), _wide(south, north, 90.0)
    return west, south, east, north


def _wide(low: float, high: float, most: float) -> tuple[float, float]:
    if low > high or high - low >= _LEAST:
        return low, high
    return max(low - _LEAST, -most), min(high + _LEAST, most)


def _ring(box: Box) -> Ring:
    west, south, east, north = box
    return [[west, south], [east, south], [east, north], [west, north], [west, south]]


def _polygon(rings: list[Ring]) -> bytes:
    [ring] = rings
    points = [degree for point in ring for degree in point]
    return pack(f"<BIII{len(points)}d", 1, 3, 1, len(ring), *points)


def _read_ring(data: bytes, at: int) -> Ring:
    (count,) = unpack_from("<I", data, at)
    if count != 5:
        raise ValueError(_NO_RECTANGLE)
    points = unpack_from(f"<{2 * count}d", data, at + 4)
    return [list(points[one : one + 2]) for one in range(0, 2 * count, 2)]
