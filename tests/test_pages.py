"""The public pages: in both languages, for every visitor, and safe whatever names hold."""

from collections.abc import Iterator
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

import pytest

from fleet.messages import ItemResult
from fleet.store.database import Store
from fleet.store.tables import Dataset, Incident
from fleet.web.words import words_of
from tests.api_support import Api, served, three_sites
from tests.redirect_support import until

LONG = "towns-of-all-provinces.csv"  # its content has 2600 bytes
NARROW, FIXED = "\u202f", "\u00a0"
HOSTILE = "<script>alert('1')</script>"


class Page(HTMLParser):
    """What a reader meets: the language, the links, and the text."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.languages: list[str] = []
        self.links: dict[str, str] = {}
        self.text = ""
        self.tags: list[str] = []
        self.scripts: list[dict[str, str]] = []
        self.feed(source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.tags.append(tag)
        if tag == "html":
            self.languages.append(given.get("lang", ""))
        if tag == "script":
            self.scripts.append(given)
        if tag == "a":
            self.links[given["href"]] = given.get("hreflang", "")

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture
def api(sqlite_store: Store, tmp_path: Path) -> Iterator[Api]:
    with served(three_sites(sqlite_store, tmp_path)) as one:
        yield one


def _page(api: Api, path: str) -> Page:
    answer = api.get(path)
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    return Page(answer.text)


def _published(api: Api) -> None:
    api.centre.mirror(LONG)
    api.centre.work()


def test_every_page_is_in_the_language_of_its_address(api: Api) -> None:
    _published(api)
    held = api.get("/api/v1/datasets/data").json()["progress"]["bytes_known"]
    for path in ("", "datasets/data"):
        english, french = _page(api, f"/en/{path}"), _page(api, f"/fr/{path}")
        assert (english.languages, french.languages) == (["en-CA"], ["fr-CA"])
        for page, words in (
            (english, ("published", "Verified copies", "Provider", words_of("en").bytes(held))),
            (french, ("publié", "Copies vérifiées", "Fournisseur", words_of("fr").bytes(held))),
        ):
            assert all(word in page.text for word in words)


def test_a_dataset_page_tells_where_it_is_and_how_to_get_it(api: Api) -> None:
    _published(api)
    page = _page(api, "/en/datasets/data")
    shown = api.get("/api/v1/datasets/data").json()
    [torrent] = [one for one in shown["torrents"] if one["name"] != "manifest.json"]
    [file] = [one for one in shown["files"] if one["path"] != "manifest.json"]
    assert f"/api/v1/torrents/{torrent['infohash']}.torrent" in page.links
    assert {one["url"] for one in file["places"]} <= set(page.links)
    for word in (LONG, file["sha256"][:16], torrent["infohash"], "toronto", "2026-03-01 12:00 UTC"):
        assert word in page.text


def test_numbers_are_written_as_each_language_writes_them(api: Api) -> None:
    api.centre.mirror(*(f"{number}.csv" for number in range(1234)))
    assert "0 / 1,234" in _page(api, "/en/").text
    assert f"0 / 1{NARROW}234" in _page(api, "/fr/").text


@pytest.mark.parametrize(
    ("size", "english", "french"),
    [
        (None, "?", "?"),
        (0, "0 B", "0 o"),
        (999, "999 B", "999 o"),
        (1000, "1.0 kB", "1,0 ko"),
        (1_234_567, "1.2 MB", "1,2 Mo"),
        (4_600_000_000_000, "4.6 TB", "4,6 To"),
        (5_000_000_000_000_000, "5000.0 TB", "5000,0 To"),
    ],
)
def test_sizes_have_each_languages_units_and_decimal_mark(
    size: int | None, english: str, french: str
) -> None:
    assert words_of("en").bytes(size) == english.replace(" ", FIXED)
    assert words_of("fr").bytes(size) == french.replace(" ", FIXED)


def test_millions_have_narrow_spaces_that_do_not_break() -> None:
    assert words_of("fr").number(1_234_567) == f"1{NARROW}234{NARROW}567"
    assert words_of("en").number(1_234_567) == "1,234,567"


def test_the_other_language_is_one_click_away_on_the_same_page(api: Api) -> None:
    _published(api)
    for path in ("", "datasets/data"):
        for language, other in (("en", "fr"), ("fr", "en")):
            page = _page(api, f"/{language}/{path}")
            assert page.links[f"/{other}/{path}"] == other
            assert _page(api, f"/{other}/{path}").languages == [f"{other}-CA"]


def test_a_visitor_is_sent_to_the_language_asked_for_first(api: Api) -> None:
    for asked, path in (
        ("fr-CA,fr;q=0.9,en;q=0.8", "/fr/"),
        ("en-US,en;q=0.5", "/en/"),
        ("de,fr;q=0.7,en;q=0.3", "/fr/"),
        ("de", "/en/"),
        ("*", "/en/"),
        ("", "/en/"),
    ):
        answer = api.get("/", headers={"Accept-Language": asked})
        assert (answer.status_code, answer.headers["Location"]) == (307, path)
        assert answer.headers["Vary"] == "Accept-Language"


def test_html_in_names_and_reasons_is_shown_and_never_run(api: Api) -> None:
    api.centre.apply_sites("toronto", provider=HOSTILE, country="<b>")
    api.centre.mirror("good.csv", "bad.csv")
    for _ in range(2):
        api.centre.tick()
        for order in api.centre.orders():
            api.centre.report_but(order, "bad.csv", _refused)
    api.centre.work()
    with api.centre.store.write() as session:
        session.get_one(Dataset, "data").title = HOSTILE
        now = datetime(2026, 3, 1, tzinfo=UTC)
        session.add(Incident(site_id="netcup", kind="probe", reason=HOSTILE, began_at=now))
    for path, times in (("/en/", 3), ("/fr/datasets/data", 3)):
        page = _page(api, path)
        assert page.text.count(HOSTILE) >= times
        assert "b" not in page.tags
        assert all(one == {"type": "application/ld+json"} for one in page.scripts)


def _refused(artifact: str) -> ItemResult:
    return ItemResult(artifact=artifact, ok=False, reason=HOSTILE, final=True, fault="refused")


def test_what_could_not_be_had_is_named_with_its_reason(api: Api) -> None:
    bad = ("bad.csv", "worse.csv")
    api.centre.mirror("good.csv", *bad)
    api.centre.tick()
    for order in api.centre.orders():
        path = order.items[0].path
        api.centre.report_but(order, path if path in bad else "", _refused)
    api.centre.work()
    english = _page(api, "/en/datasets/data").text
    french = _page(api, "/fr/datasets/data").text
    assert "2 files could not be had" in english
    assert "2 fichiers n’ont pu être obtenus" in french
    for text, state in ((english, "not to be had"), (french, "introuvable")):
        assert text.count(state) == text.count(HOSTILE) == 2


def test_no_link_of_the_pages_leads_nowhere(api: Api) -> None:
    _published(api)
    todo, seen = ["/en/", "/fr/"], set[str]()
    while todo:
        path = todo.pop()
        if path in seen:
            continue
        seen.add(path)
        if path.startswith("/d/"):  # the redirector hears of it within seconds
            until(lambda path=path: api.get(path).status_code in {307, 503})
            continue
        answer = api.get(path)
        assert answer.status_code == 200, path
        if answer.headers["Content-Type"].startswith("text/html"):
            todo += [link for link in Page(answer.text).links if link.startswith("/")]
    assert {"/en/datasets/data", "/fr/datasets/data", "/api/v1/datasets/data"} <= seen


def test_pages_of_an_empty_fleet_say_so(api: Api) -> None:
    assert "Nothing is mirrored yet." in _page(api, "/en/").text
    assert "Rien n’est encore répliqué." in _page(api, "/fr/").text


def test_an_unknown_dataset_is_not_found_in_words(api: Api) -> None:
    for language in ("en", "fr"):
        answer = api.get(f"/{language}/datasets/atlantis")
        assert answer.status_code == 404
        assert "atlantis" in answer.text
    hostile = api.get("/en/datasets/<script>")
    assert hostile.status_code == 404
    assert "json" in hostile.headers["Content-Type"] or "<script>" not in hostile.text


def test_a_language_that_there_is_not_is_refused(api: Api) -> None:
    assert api.get("/de/").status_code in {404, 422}
