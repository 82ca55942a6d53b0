"""A careful person at the rehearsed Zenodo: the calls of the API, one method each."""

import hashlib
from typing import Any
from urllib.parse import quote

import httpx

from fleet.rehearsal.zenodo import TOKEN, Zenodo
from fleet.rehearsal.zenodo.shapes import RDM

METADATA = {
    "title": "Buildings of Canada",
    "resource_type": {"id": "dataset"},
    "publication_date": "2026-11-28",
    "creators": [{"person_or_org": {"type": "organizational", "name": "Data for Canada"}}],
    "rights": [{"id": "cc-by-4.0"}],
    "version": "2025-04-15",
    "publisher": "Data for Canada",
}


def md5(data: bytes) -> str:
    return hashlib.md5(data).hexdigest()


class Person:
    def __init__(self, zenodo: Zenodo, token: str | None = TOKEN, accept: str = RDM) -> None:
        headers = {"Accept": accept}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        self.http = httpx.Client(base_url=zenodo.url, headers=headers, timeout=20)

    def get(self, path: str, **params: Any) -> httpx.Response:
        return self.http.get(path, params=params or None)

    def create(self, **changes: Any) -> str:
        answer = self.http.post("/api/records", json={"metadata": METADATA | changes})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    def update(self, draft: str, body: Any) -> httpx.Response:
        return self.http.put(f"/api/records/{draft}/draft", json=body)

    def reserve(self, draft: str) -> httpx.Response:
        return self.http.post(f"/api/records/{draft}/draft/pids/doi")

    def start(self, draft: str, *keys: str) -> httpx.Response:
        entries = [{"key": key} for key in keys]
        return self.http.post(f"/api/records/{draft}/draft/files", json=entries)

    def put(self, draft: str, key: str, data: bytes) -> httpx.Response:
        path = f"/api/records/{draft}/draft/files/{quote(key, safe='')}/content"
        headers = {"Content-Type": "application/octet-stream"}
        return self.http.put(path, content=data, headers=headers)

    def commit(self, draft: str, key: str) -> httpx.Response:
        return self.http.post(f"/api/records/{draft}/draft/files/{quote(key, safe='')}/commit")

    def delete(self, draft: str, key: str) -> httpx.Response:
        return self.http.delete(f"/api/records/{draft}/draft/files/{key}")

    def publish(self, draft: str) -> httpx.Response:
        return self.http.post(f"/api/records/{draft}/draft/actions/publish")

    def version(self, record: str) -> httpx.Response:
        return self.http.post(f"/api/records/{record}/versions")

    def link(self, draft: str) -> httpx.Response:
        return self.http.post(f"/api/records/{draft}/draft/actions/files-import")

    def discard(self, draft: str) -> httpx.Response:
        return self.http.delete(f"/api/records/{draft}/draft")

    def upload(self, draft: str, key: str, data: bytes) -> None:
        assert self.start(draft, key).status_code == 201
        assert self.put(draft, key, data).status_code == 200
        assert self.commit(draft, key).json()["checksum"] == f"md5:{md5(data)}"

    def published(self, **files: bytes) -> str:
        """Publish a record with these files."""
        draft = self.create()
        for key, data in (files or {"a.csv": b"x,y\n"}).items():
            self.upload(draft, key, data)
        assert self.publish(draft).status_code == 202
        return draft
