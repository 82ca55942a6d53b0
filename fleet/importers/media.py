"""Media types of the files that open-data publishers hold, by extension.

A fixed table, because the standard library's answers depend on the machine it runs on.
"""

_TYPES = {
    "7z": "application/x-7z-compressed",
    "csv": "text/csv",
    "geojson": "application/geo+json",
    "gpkg": "application/geopackage+sqlite3",
    "gz": "application/gzip",
    "html": "text/html",
    "jp2": "image/jp2",
    "jpg": "image/jpeg",
    "json": "application/json",
    "laz": "application/vnd.laszip",
    "md": "text/markdown",
    "parquet": "application/vnd.apache.parquet",
    "pdf": "application/pdf",
    "pmtiles": "application/vnd.pmtiles",
    "png": "image/png",
    "tar": "application/x-tar",
    "tif": "image/tiff",
    "tiff": "image/tiff",
    "txt": "text/plain",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "xml": "application/xml",
    "zip": "application/zip",
}


def media_type(path: str) -> str | None:
    """Return the media type that ``path``'s extension stands for, or None."""
    _, dot, extension = path.rpartition(".")
    return _TYPES.get(extension.lower()) if dot else None
