"""The ways in which Zenodo was seen to misbehave, as lines of a service's script, by name.

An answer's bodies are those observed; a 502 or 504 comes from the proxy in front, as a page.
"""

import json
import shlex

from fleet.rehearsal.zenodo.state import INTERNAL

JSON = "Content-Type=application/json"
BROKEN = (JSON, json.dumps({"message": INTERNAL, "status": 500}))
THROTTLED = (JSON, json.dumps({"message": "100 per 1 minute", "status": 429}))
PAGE = ("Content-Type=text/html", "<html><body><h1>504 Gateway Time-out</h1></body></html>")

DRAFTS, VERSIONS = "/api/records", "/api/records/*/versions"
RESERVE, PUBLISH = "/api/records/*/draft/pids/doi", "/api/records/*/draft/actions/publish"
FILES, CONTENT = "/api/records/*/draft/files", "/api/records/*/draft/files/*/content"
COMMIT = "/api/records/*/draft/files/*/commit"

TROUBLES: dict[str, tuple[str, ...]] = {
    # For hours, for a record and not for others: zenodo/zenodo-rdm#1440; some of them 504.
    "versions_500": ("POST", VERSIONS, "refuse", "500", *BROKEN),
    "versions_504": ("POST", VERSIONS, "refuse", "504", *PAGE),
    # Published all the same: zenodo/zenodo#2131, cthoyt/zenodo-client#28. Not: eblondel/zen4R#100.
    "publish_504_done": ("POST", PUBLISH, "mask", "504", *PAGE),
    "publish_504_undone": ("POST", PUBLISH, "refuse", "504", *PAGE),
    # zenodo/zenodo-rdm#1286, showyourwork/showyourwork#238.
    "throttled": ("*", "/api/*", "refuse", "429", "Retry-After=1", *THROTTLED),
    "throttled_silent": ("*", "/api/*", "refuse", "429", *THROTTLED),
    "gateway_502": ("*", "/api/*", "refuse", "502", *PAGE),
    # A connection ends where it can end (assumed).
    "create_lost": ("POST", DRAFTS, "lose"),
    "versions_lost": ("POST", VERSIONS, "lose"),
    "reserve_lost": ("POST", RESERVE, "lose"),
    "start_lost": ("POST", FILES, "lose"),
    "content_lost": ("PUT", CONTENT, "lose"),
    "content_reset": ("PUT", CONTENT, "drop", "1"),
    "commit_lost": ("POST", COMMIT, "lose"),
    "publish_lost": ("POST", PUBLISH, "lose"),
    "publish_reset": ("POST", PUBLISH, "drop"),
    # What was stored is not what was sent: the checksum at commit is another (assumed).
    "content_damaged": ("PUT", CONTENT, "damage"),
}


def line(name: str, *, skip: int = 0, times: int = 1) -> str:
    """Write a trouble as a line of the script, for the requests after the first ``skip``."""
    method, path, *act = TROUBLES[name]
    return shlex.join([method, path, "skip", str(skip), "times", str(times), *act])
