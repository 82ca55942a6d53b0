"""Whatever is asked, in whatever order, and however the answers are lost: what Zenodo promises."""

import tempfile
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import httpx
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from fleet.rehearsal.zenodo import Zenodo
from fleet.rehearsal.zenodo.records import PREFIX
from fleet.rehearsal.zenodo.troubles import TROUBLES, line
from tests.zenodo_support import METADATA, Person, md5

# An example takes a third of a second: to shrink one would take minutes.
QUICK = [Phase.explicit, Phase.reuse, Phase.generate]
SAVED = ({"metadata": METADATA}, {"metadata": METADATA}, {"metadata": {"title": "Alone"}})
ACTIONS = [
    *("reserve", "unreserve", "discard", "update", "start", "put", "commit", "delete", "publish"),
    *("version", "link", "create", "whole_file", "finish", "finish", "next_version"),
]
STEP = st.tuples(
    st.sampled_from(ACTIONS),
    st.integers(0, 5),  # which of the records and drafts there are, from the newest on
    st.sampled_from(["a", "b"]),
    st.one_of(st.none(), st.none(), st.none(), st.sampled_from(sorted(TROUBLES))),
)


class Story:
    """One Zenodo, and what was ever seen of it."""

    def __init__(self, zenodo: Zenodo, done: Counter[str]) -> None:
        self.zenodo = zenodo
        self.done = done
        self.me = Person(zenodo)
        self.trouble: str | None = None
        self.frozen: dict[str, dict[str, Any]] = {}

    def take(self, action: str, pick: int, key: str) -> None:
        ids = list(self.zenodo.records.records)
        if action == "create" or not ids:
            self.ask("POST", "", json=SAVED[0])
            return
        here = f"/{ids[-1 - pick % len(ids)]}"
        draft, file = f"{here}/draft", f"{here}/draft/files/{key}"
        if action == "next_version":
            self.ask("POST", f"{here}/versions")
            self.ask("POST", f"/{list(self.zenodo.records.records)[-1]}/draft/actions/files-import")
            self.take("finish", 0, key)
        elif action == "finish":
            self.take("whole_file", pick, key)
            self.ask("PUT", draft, json=SAVED[0])
            self.take("publish", pick, key)
        elif action == "whole_file":
            for part in ("start", "put", "commit"):
                self.take(part, pick, key)
        elif action == "update":
            self.ask("PUT", draft, json=SAVED[pick % len(SAVED)])
        elif action == "put":
            self.ask("PUT", f"{file}/content", content=f"{key} {pick}".encode() * 3)
        elif action == "start":
            self.ask("POST", f"{draft}/files", json=[{"key": key}])
        else:
            self.ask(
                *{
                    "reserve": ("POST", f"{draft}/pids/doi"),
                    "unreserve": ("DELETE", f"{draft}/pids/doi"),
                    "discard": ("DELETE", draft),
                    "commit": ("POST", f"{file}/commit"),
                    "delete": ("DELETE", file),
                    "publish": ("POST", f"{draft}/actions/publish"),
                    "version": ("POST", f"{here}/versions"),
                    "link": ("POST", f"{draft}/actions/files-import"),
                }[action]
            )

    def ask(self, method: str, path: str, **body: Any) -> None:
        """Ask, and count the answer; whatever it is, what was promised holds after it."""
        script = self.zenodo.script
        if self.trouble:
            script.add(line(self.trouble))
        before = len(script.used)
        try:
            status = self.me.http.request(method, f"/api/records{path}", **body).status_code
        except httpx.TransportError:
            status = 0
        met = len(script.used) > before
        self.done["troubles" if met else f"{method} {status}"] += 1
        assert met or status not in {0, 500} or path.endswith("/commit"), (method, path, status)
        script.clear()
        self.trouble = None if met else self.trouble
        self.check()

    def check(self) -> None:
        found = self.me.get("/api/user/records", allversions="true", size=100).json()["hits"]
        drafts: Counter[str] = Counter()
        dois: dict[str, set[str]] = defaultdict(set)
        for hit in found["hits"]:
            for pid in hit["pids"].values():
                dois[hit["id"]].add(pid["identifier"])
            if hit["is_published"]:
                self.check_published(hit)
            else:
                drafts[hit["parent"]["id"]] += 1
        assert all(dois[name] <= {PREFIX + name} for name in dois)
        assert set(drafts.values()) <= {1}
        assert set(self.frozen) == {hit["id"] for hit in found["hits"] if hit["is_published"]}
        minted = Counter(self.zenodo.records.minted)
        assert set(minted.values()) <= {1}
        concepts = {hit["parent"]["id"] for hit in self.frozen.values()}
        assert set(minted) == {PREFIX + name for name in {*self.frozen, *concepts}}

    def check_published(self, hit: dict[str, Any]) -> None:
        """Check that a record is whole when it is first seen, and the same ever after."""
        if hit["id"] not in self.frozen:
            self.done["published"] += 1
            self.done["next version"] += hit["versions"]["index"] > 1
            files = self.me.get(f"/api/records/{hit['id']}/files").json()["entries"]
            assert files
            for file in files:
                data = self.me.http.get(file["links"]["content"]).content
                assert (file["status"], file["checksum"]) == ("completed", f"md5:{md5(data)}")
            self.frozen[hit["id"]] = hit
        was = self.frozen[hit["id"]]
        assert hit | {"versions": was["versions"]} == was


def test_no_order_of_requests_and_losses_breaks_what_zenodo_promises() -> None:
    done: Counter[str] = Counter()

    @settings(max_examples=25, deadline=None, phases=QUICK)
    @given(st.lists(STEP, min_size=15, max_size=25))
    def tell(steps: list[tuple[str, int, str, str | None]]) -> None:
        with tempfile.TemporaryDirectory() as folder, Zenodo(Path(folder)) as zenodo:
            story = Story(zenodo, done)
            for action, pick, key, trouble in steps:
                story.trouble = trouble or story.trouble
                story.take(action, pick, key)
            story.me.http.close()

    tell()
    print(dict(sorted(done.items())))
    assert done["published"] > 10
    assert done["next version"] > 0
    assert done["troubles"] > 10


WORDS = st.sampled_from(
    [
        *("metadata", "files", "pids", "access", "doi", "identifier", "enabled", "key", "title"),
        *("creators", "person_or_org", "type", "personal", "family_name", "affiliations", "rights"),
        *("resource_type", "id", "dataset", "publication_date", "2026-11-28", "receiver", "record"),
    ]
)
ANYTHING = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), WORDS, st.text(max_size=3)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(WORDS, inner, max_size=4)),
    max_leaves=12,
)


def test_no_body_however_odd_goes_without_an_answer() -> None:
    @settings(max_examples=60, deadline=None, phases=QUICK)
    @given(ANYTHING, st.dictionaries(WORDS, ANYTHING, max_size=6))
    def send(body: Any, metadata: Any) -> None:
        draft = str(me.http.post("/api/records", json={}).json()["id"])
        here = f"/api/records/{draft}/draft"
        for method, path in (
            ("PUT", here),
            ("POST", f"{here}/files"),
            ("PUT", f"{here}/review"),
            ("POST", f"{here}/actions/submit-review"),
        ):
            for sent in (body, {"metadata": metadata}):
                answer = me.http.request(method, path, json=sent)
                assert answer.status_code in {200, 201, 400, 404, 501}, answer.text
        assert me.get(here).status_code == plain.get(here).status_code == 200
        assert me.discard(draft).status_code == 204

    with tempfile.TemporaryDirectory() as folder, Zenodo(Path(folder)) as zenodo:
        me, plain = Person(zenodo), Person(zenodo, accept="application/json")
        send()
