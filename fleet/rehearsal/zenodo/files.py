"""The files of a draft: started by name, given their content, committed.

Documented where not said otherwise ("Draft files", "Link files from previous version"):
https://inveniordm.docs.cern.ch/reference/rest_api_drafts_records/
"""

import hashlib
from dataclasses import replace
from typing import Any

from fleet.rehearsal.exchange import Body
from fleet.rehearsal.zenodo.records import UNKNOWN, Records
from fleet.rehearsal.zenodo.state import (
    INTERNAL,
    Content,
    File,
    Record,
    Refused,
    complaint,
    invalid,
)


class Files:
    """What is done with the files of drafts; a published record's can only be read."""

    def __init__(self, records: Records) -> None:
        self._all = records

    def start(self, user: str, name: str, entries: Any) -> Record:
        """Name files that will come; all of them or, where one is refused, none."""
        record = self._all.draft(user, name)
        keys = self._keys(record, entries)
        for key in keys:
            record.files[key] = self._all.new_file(key)
        return record

    def put(self, user: str, name: str, key: str, body: Body) -> tuple[Record, File, bool]:
        """Set the content of a started file; whether it was taken is the last of the answer.

        Content for a file that was committed already is not taken, and the file is gone from the
        draft after that (invenio-records-resources: LocalTransfer.set_file_content, and
        FileContentComponent, which deletes; from the source, not observed).
        """
        digest = hashlib.md5(usedforsecurity=False)
        body.pour(digest.update)
        with self._all.lock:
            record, file = self.read(self._all.draft(user, name), key)
            if file.committed:
                del record.files[key]
                return record, file, False
            others = record.bytes - (file.content.size if file.content else 0)
            if others + body.length > self._all.limits.size:
                raise Refused(400, "Bucket quota exceeded.")  # invenio-files-rest: limiters
            file.content = Content(body.keep(), body.length, digest.hexdigest())
            file.updated = self._all.now()
            return record, file, True

    def commit(self, user: str, name: str, key: str) -> tuple[Record, File]:
        """Declare a file whole; again is the same.

        One without content is an error of the server (invenio-records-resources:
        FilesManager.commit raises a bare Exception).
        """
        record, file = self.read(self._all.draft(user, name), key)
        if file.content is None:
            raise Refused(500, INTERNAL)
        file.committed, file.updated = True, self._all.now()
        return record, file

    def delete(self, user: str, name: str, key: str) -> None:
        """Take a file out of a draft."""
        record, _ = self.read(self._all.draft(user, name), key)
        del record.files[key]

    def link(self, user: str, name: str) -> Record:
        """Link all files of the latest version into a draft that has none."""
        record = self._all.draft(user, name)
        versions = self._all.concepts[record.concept].versions
        if not versions:
            raise Refused(404, "Not found.")
        latest = self._all.records[versions[-1]]
        if record.files:  # observed: google/langextract#461
            raise invalid(complaint("files.enabled", "Please remove all files first."))
        if not latest.files:
            raise invalid(complaint("files.enabled", "The record has no files."))
        record.files = {key: replace(file) for key, file in latest.files.items()}
        return record

    def read(self, record: Record, key: str) -> tuple[Record, File]:
        """Give a file of a record or draft."""
        if key not in record.files:
            raise Refused(404, f"Record '{record.id}' has no file '{key}'.")
        return record, record.files[key]

    def in_bucket(self, bucket: str, key: str) -> tuple[Record, File]:
        """Give a published file by its bucket (observed: zenodo_record_7078760_legacy.json)."""
        for record in self._all.records.values():
            if record.bucket == bucket and record.published:
                return self.read(record, key)
        raise Refused(404, UNKNOWN)

    def _keys(self, record: Record, entries: Any) -> list[str]:
        if not isinstance(entries, list):  # invenio-records-resources: test_files_resource.py
            raise invalid(complaint("0._schema", "Invalid input type."))
        if not entries:
            raise invalid(complaint("_schema", "No files to upload."))
        if not record.files_enabled:
            raise invalid(complaint("files.enabled", "Files support must be enabled."))  # assumed
        if len(record.files) + len(entries) > self._all.limits.files:
            text = "Uploading selected files will result in exceeding the max amount per record."
            raise Refused(400, text)
        keys: list[str] = []
        for number, entry in enumerate(entries):
            key = entry.get("key") if isinstance(entry, dict) else None
            if not isinstance(key, str) or not key:
                raise invalid(complaint(f"{number}.key", "Missing data for required field."))
            if len(key) > self._all.limits.key:
                raise Refused(400, "Filename is too long.")
            if key in record.files or key in keys:
                raise Refused(400, f"File with key {key} already exists.")
            keys.append(key)
        return keys
