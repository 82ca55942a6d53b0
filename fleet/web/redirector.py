"""The redirector: the one address of a file, and the best of its mirrors for who asks.

::

    /d/DATASET/VERSION/PATH     or /d/DATASET/latest/PATH
    /processed/NAME             a file of a latest version by its bare name
    ADDRESS.meta4  .torrent  .magnet  ?mirrors

Rules this module keeps:

- It answers from the snapshot: a redirect asks no database, and goes on while that is away.
- Headers hold nothing that came with the request: addresses are made of what the store has.
- It is plain ASGI, without what a framework does for each request; see `benchmarks.redirect`.
- Redirects ignore ``Range`` and conditions, as RFC 9110 (13.2.1) has it: the mirror heeds them.
- A file's own name wins over what is derived from another's.
"""

from binascii import b2a_base64
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from urllib.parse import quote

from fastapi.encoders import jsonable_encoder
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import Receive, Scope, Send

from fleet.control.editions import Found
from fleet.control.snapshot import LATEST, Snapshot, Standing
from fleet.planning.facts import Choice
from fleet.planning.redirect import Asker
from fleet.planning.states import VersionState
from fleet.web import refusals
from fleet.web.askers import Askers
from fleet.web.derived import METALINK, SUFFIXES, TORRENT, Derived, address, mirrors_of
from fleet.web.mirror_lists import MirrorList, mirror_list
from fleet.web.refusals import Refusal, later
from fleet.web.words import preferred, words_of

_BARE = "/processed/"
BELOW = ("/d/", _BARE)
_MUTABLE, _FIXED = 60, 300  # seconds; a mirror that is found bad is gone from caches after
_SOON = 2
_MOST_LINKS = 10
_MOVED = 3600
_OPEN = (
    (b"access-control-allow-origin", b"*"),
    (
        b"access-control-expose-headers",
        b"Link, Digest, Repr-Digest, ETag, Retry-After, Fleet-Stale-Since",
    ),
)
_PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, HEAD, OPTIONS",
    "Access-Control-Allow-Headers": "Range, If-Match, If-None-Match, If-Modified-Since, If-Range",
    "Access-Control-Max-Age": "86400",
}
_ALLOW = {"Allow": "GET, HEAD, OPTIONS"}
_NOTHING = {"type": "http.response.body", "body": b""}


@dataclass
class _Renamed(Exception):
    """The dataset has another name now."""

    to: str


class Redirector:
    """Answers what is asked for ``BELOW``."""

    def __init__(self, snapshot: Snapshot, askers: Askers, derived: Derived) -> None:
        """Answer from ``snapshot``, and what is more than a redirect from ``derived``."""
        self.snapshot, self.askers, self._derived = snapshot, askers, derived

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        try:
            if scope["method"] not in ("GET", "HEAD"):
                response = _without_reading(scope["method"])
            else:
                found, suffix, fixed = self._locate(scope["path"])
                if not suffix and scope["query_string"] != b"mirrors":
                    await self._redirect(found, fixed, scope, send)
                    return
                response = await self._shown(found, suffix, fixed, Request(scope))
        except Refusal as refusal:
            response = refusals.answer(refusal, Request(scope))
        except _Renamed as renamed:
            query = "?mirrors" if scope["query_string"] == b"mirrors" else ""
            kept = {"Cache-Control": f"public, max-age={_MOVED}"}
            response = RedirectResponse(renamed.to + query, 301, kept)
        response.raw_headers.extend(_OPEN)
        await response(scope, receive, send)

    def mirrors(self, dataset: str, label: str, path: str, scope: Scope) -> MirrorList:
        """Show the mirrors of a file for who asks.

        Raises:
            Refusal: there is no such file.
        """
        return self._mirrors(self._find(dataset, label, path), self.askers.of(scope))

    def _mirrors(self, found: Found, asker: Asker) -> MirrorList:
        return mirror_list(found, asker, self.snapshot.standing, self.snapshot.stale_since)

    def _find(self, dataset: str, label: str, path: str) -> Found:
        edition = self.snapshot.edition(dataset, label)
        if edition is None:
            raise self._unknown(dataset, label)
        found = edition.find(path)
        if found is not None:
            return found
        about = {"dataset": dataset, "version": edition.label, "name": path}
        if edition.state == VersionState.WITHDRAWN:
            raise Refusal(410, "version_withdrawn", about)
        raise Refusal(404, "no_file", about)

    def _locate(self, asked: str) -> tuple[Found, str, bool]:
        """Find what is asked for: the file, the suffix added to its name, and if it may change."""
        if asked.startswith(_BARE):
            return *_with_suffix(asked[len(_BARE) :], self._named), False
        _, _, dataset, label, path = (*asked.split("/", 4), "", "", "")[:5]
        if name := self._other_name(dataset):
            raise _Renamed(f"/d/{name}/{quote(label, safe='')}/{quote(path)}")
        fixed = label != LATEST
        return *_with_suffix(path, lambda one: self._find(dataset, label, one)), fixed

    def _named(self, name: str) -> Found:
        """Return the file of a bare name."""
        edition = self.snapshot.edition(self.snapshot.owner(name), LATEST)
        found = edition.bare(name) if edition else None
        if found is None:
            raise self._not_there("no_name", name=name)
        return found

    def _other_name(self, dataset: str) -> str:
        return "" if self.snapshot.knows(dataset) else self.snapshot.renamed(dataset)

    def _unknown(self, dataset: str, label: str) -> Refusal:
        if not self.snapshot.knows(dataset):
            return self._not_there("no_dataset", name=dataset)
        return self._not_there("no_version", dataset=dataset, name=label)

    def _not_there(self, text: str, **about: str) -> Refusal:
        if not self.snapshot.complete:
            return later("not_read_yet", _SOON)
        return Refusal(404, text, about)

    async def _redirect(self, found: Found, fixed: bool, scope: Scope, send: Send) -> None:
        """Send who asks to the best mirror."""
        standing = self.snapshot.standing
        used = mirrors_of(standing, found, self.askers.of(scope))[:_MOST_LINKS]
        urls = [standing.url(found, one.site) for one in used]
        digest = b2a_base64(found.sha256, newline=False)
        headers = [
            (b"location", urls[0].encode()),
            (b"link", _links(found, standing, used, urls, fixed=fixed).encode()),
            (b"digest", b"sha-256=" + digest),
            (b"repr-digest", b"sha-256=:" + digest + b":"),
            (b"content-length", b"0"),
            *self._caching(fixed),
            *_OPEN,
        ]
        await send({"type": "http.response.start", "status": 307, "headers": headers})
        await send(_NOTHING)

    def _caching(self, fixed: bool) -> list[tuple[bytes, bytes]]:
        """Say how long an answer may be kept, by what others differ, and if it is of old."""
        who = "private" if self.askers.personal else "public"
        kept = f"{who}, max-age={_FIXED if fixed else _MUTABLE}"
        headers = [(b"cache-control", kept.encode())]
        if self.askers.varies:
            headers.append((b"vary", self.askers.varies.encode()))
        if (since := self.snapshot.stale_since) is not None:
            headers.append((b"fleet-stale-since", f"{since:%Y-%m-%dT%H:%M:%SZ}".encode()))
        return headers

    async def _shown(self, found: Found, suffix: str, fixed: bool, request: Request) -> Response:
        """Answer with what is told of a file, or made of it."""
        asker, origin = self.askers.of(request.scope), self.askers.origin(request.scope)
        if suffix:
            made = await run_in_threadpool(self._derived.make, suffix, found, asker, origin)
            response = made.answer(request.headers.get("if-none-match", ""))
            response.raw_headers.extend(self._caching(fixed))
            return response
        unkept = {"Cache-Control": "no-store", "Vary": "Accept, Accept-Language"}
        if refusals.wants_page(request):
            language = preferred(request.headers.get("accept-language", ""))
            page = f"/{language}/mirrors/{address(found).removeprefix('/d/')}"
            return RedirectResponse(page, headers=unkept)
        shown = jsonable_encoder(asdict(self._mirrors(found, asker)))
        return JSONResponse(shown, headers=unkept)


def _with_suffix(name: str, find: Callable[[str], Found]) -> tuple[Found, str]:
    """Find the file that is called ``name``, or the one of which that is derived, and how."""
    try:
        return find(name), ""
    except Refusal:
        suffix = next((one for one in SUFFIXES if name.endswith(one)), "")
        if not suffix:
            raise
        return find(name.removesuffix(suffix)), suffix


def _links(
    found: Found, standing: Standing, used: Sequence[Choice], urls: Sequence[str], *, fixed: bool
) -> str:
    """Name the mirrors (RFC 6249), what describes the file, whose it is, and what cites it.

    An address that leads to whatever is the latest is cited by the DOI of all versions.
    """
    own, links = address(found), []
    for priority, (one, url) in enumerate(zip(used, urls, strict=True), 1):
        country = standing.country(one.site).lower()
        geo = f"; geo={country}" if country.isascii() and country.isalpha() else ""
        links.append(f"<{url}>; rel=duplicate; pri={priority}{geo}")
    for suffix, media_type in (TORRENT, METALINK):
        if found.edition.find(found.path + suffix) is None and (
            suffix != TORRENT[0] or found.infohash
        ):
            links.append(f'<{own}{suffix}>; rel=describedby; type="{media_type}"')
    edition = found.edition
    page = quote(f"/datasets/{edition.dataset}/versions/{edition.label}")
    links.append(f'<{page}>; rel=collection; type="text/html"')
    if doi := edition.doi if fixed else edition.concept or edition.doi:
        links.append(f"<https://doi.org/{quote(doi, safe='/:')}>; rel=cite-as")
    return ", ".join(links)


def _without_reading(method: str) -> Response:
    if method == "OPTIONS":
        return Response(status_code=204, headers=_PREFLIGHT | _ALLOW)
    said = words_of("en")["only_read"]
    return JSONResponse({"detail": said}, 405, _ALLOW)
