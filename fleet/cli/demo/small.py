"""The sample's small files: tables, boundaries, metadata and documentation of each province."""

import json
from collections.abc import Callable, Iterator
from functools import partial
from random import Random

Make = Callable[[Random, float], bytes]

PROVINCES = (
    ("10", "nl", "Newfoundland and Labrador", "Terre-Neuve-et-Labrador"),
    ("11", "pe", "Prince Edward Island", "Île-du-Prince-Édouard"),
    ("12", "ns", "Nova Scotia", "Nouvelle-Écosse"),
    ("13", "nb", "New Brunswick", "Nouveau-Brunswick"),
    ("24", "qc", "Quebec", "Québec"),
    ("35", "on", "Ontario", "Ontario"),
    ("46", "mb", "Manitoba", "Manitoba"),
    ("47", "sk", "Saskatchewan", "Saskatchewan"),
    ("48", "ab", "Alberta", "Alberta"),
    ("59", "bc", "British Columbia", "Colombie-Britannique"),
    ("60", "yt", "Yukon", "Yukon"),
    ("61", "nt", "Northwest Territories", "Territoires du Nord-Ouest"),
    ("62", "nu", "Nunavut", "Nunavut"),
)
THEMES = ("age", "dwellings", "education", "families", "income", "labour", "language", "mobility")
LEVELS = ("lcd", "lcsd", "lct", "lda")

_CSV_ROWS = 1500
_AREAS = 90


def files() -> Iterator[tuple[str, Make]]:
    """Name every small file, and how it is made."""
    for code, short, english, french in PROVINCES:
        for theme in THEMES:
            stem = (
                f"ca-{short}_statcan-2021A0002{code}_d4c-datapkg-census_of_population_2021_{theme}"
            )
            yield f"processed/{short}/{stem}_v0.1.0-beta.csv", partial(_csv, code, theme)
            yield f"metadata/{short}/{stem}_v0.1.0-beta.xml", partial(_xml, stem, english, french)
        for level in LEVELS:
            path = f"archive/statistics_canada/boundaries/2021/{short}/{level}_{code}b21a_e.geojson"
            yield path, partial(_geojson, code)
        yield f"documentation/en/README {english}.md", partial(_note, f"Census 2021: {english}")
        yield (
            f"documentation/fr/LISEZMOI {french}.md",
            partial(_note, f"Recensement 2021 : {french}"),
        )
    yield "README.md", partial(_note, "Census of Population 2021")
    yield "LISEZMOI.md", partial(_note, "Recensement de la population de 2021")
    yield "LICENCE_EN.txt", partial(_note, "Made up for a demo; Statistics Canada made none of it.")
    yield "LICENCE_FR.txt", partial(_note, "Données inventées, sans lien avec Statistique Canada.")


def _csv(code: str, theme: str, random: Random, scale: float) -> bytes:
    lines = [f"dguid,{theme}_total,{theme}_men,{theme}_women"]
    for row in range(max(round(_CSV_ROWS * scale), 2)):
        men, women = random.getrandbits(14), random.getrandbits(14)
        lines.append(f"2021S0512{code}{row:06},{men + women},{men},{women}")
    return ("\n".join(lines) + "\n").encode()


def _geojson(code: str, random: Random, scale: float) -> bytes:
    features = []
    for area in range(max(round(_AREAS * scale), 1)):
        west, south = random.uniform(-141, -53), random.uniform(42, 83)
        ring = [
            (round(west + random.random(), 6), round(south + random.random(), 6)) for _ in range(40)
        ]
        features.append(
            {
                "type": "Feature",
                "properties": {"DGUID": f"2021S0512{code}{area:06}", "PRUID": code},
                "geometry": {"type": "Polygon", "coordinates": [[*ring, ring[0]]]},
            }
        )
    collection = {"type": "FeatureCollection", "features": features}
    return json.dumps(collection, separators=(",", ":")).encode()


def _xml(stem: str, english: str, french: str, random: Random, _scale: float) -> bytes:
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<metadata id="{stem}" revision="{random.getrandbits(64):016x}">
  <title xml:lang="en">Census of Population, 2021: {english}</title>
  <title xml:lang="fr">Recensement de la population de 2021 : {french}</title>
  <bounds west="-141.0" south="41.7" east="-52.6" north="83.1"/>
</metadata>
""".encode()


def _note(title: str, random: Random, _scale: float) -> bytes:
    return f"# {title}\n\nRevision {random.getrandbits(64):016x}\n".encode()
