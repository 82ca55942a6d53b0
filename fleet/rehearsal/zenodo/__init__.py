"""Zenodo as a local server: drafts, DOIs, files, versions, communities; nothing is published.

Each behaviour says where it comes from: *documented* names a page, a repository's file is the
source that Zenodo runs, *observed* is a real answer in the project's data or a report with its
repository and number, and *assumed* is a guess. Its DOIs have the test prefix and resolve here
only. Not rehearsed: editing a published record's metadata, external DOIs, embargoes, multipart
uploads, and an upload that breaks off (nothing of it arrives; whether the real one then forgets the
file that was started was not observed).
"""

from fleet.rehearsal.zenodo.server import TOKEN, Zenodo
from fleet.rehearsal.zenodo.state import Limits, Switches

__all__ = ["TOKEN", "Limits", "Switches", "Zenodo"]
