"""Lists of URLs and aria2 input files: the grammar, the options, and what is refused."""

import pytest

from fleet.importers import Draft, DraftArtifact, ImportRefused, as_json, draft_of_list, url_list

SHA256 = "0f" * 32
MD5 = "0f" * 16


def read(*lines: str) -> Draft:
    return draft_of_list("\n".join(lines).encode(), "list.txt")


def good(draft: Draft) -> dict[str, tuple[str, ...]]:
    return {item.path: item.sources for item in draft.artifacts if not item.refused}


def refusals(draft: Draft) -> list[str]:
    return [item.refused for item in draft.artifacts if item.refused]


def test_alternates_comments_blank_lines_bom_and_crlf() -> None:
    data = (
        b"\xef\xbb\xbf# a comment\r\n\r\n"
        b"https://a.example/x.zip\thttp://b.example/other.zip \t\r\n"
        b"#https://a.example/not-this.zip\r\n \t \r\nhttps://a.example/y.zip"
    )
    assert good(draft_of_list(data, "list.txt")) == {
        "x.zip": ("https://a.example/x.zip", "http://b.example/other.zip"),
        "y.zip": ("https://a.example/y.zip",),
    }


def test_options_name_place_and_prove_a_file() -> None:
    draft = read(
        "https://a.example/download?id=7",
        "  out=census.csv",
        "",
        "# options may stand after a comment",
        "\tdir = statcan/2021/",
        f" checksum=sha-256={SHA256.upper()}",
        f" checksum=md5={MD5}",
        "https://a.example/y.zip",
        " dir=statcan",
    )
    assert draft.artifacts == (
        DraftArtifact(
            "statcan/2021/census.csv",
            ("https://a.example/download?id=7",),
            sha256=SHA256,
            md5=MD5,
            media_type="text/csv",
        ),
        DraftArtifact("statcan/y.zip", ("https://a.example/y.zip",), media_type="application/zip"),
    )
    assert draft.notes == ()


def test_other_options_are_ignored_with_a_note() -> None:
    draft = read(
        " out=above.zip",
        "https://a.example/x.zip",
        "  split=16",
        "  out=",
        "  checksum=sha-1=0000",
        "  # no option",
        "  nonsense",
        "https://a.example/y.zip",
        "  split=16",
    )
    assert list(good(draft)) == ["x.zip", "y.zip"]
    assert draft.notes == (
        "line 1: ignored option out= above the first URL",
        "line 3: ignored option split= and on 1 other lines",
        "line 4: ignored empty option out=",
        "line 7: ignored indented text that is no option",
        "line 5: ignored the checksum of kind sha-1; sha-256 and md5 are understood",
    )


def test_the_last_out_counts() -> None:
    draft = read("https://a.example/x", " out=one", " out=two")
    assert list(good(draft)) == ["two"]
    assert draft.notes == ("line 3: this out= replaces the one above it",)


@pytest.mark.parametrize(
    ("out", "reason"),
    [
        ("../../etc/passwd", "line 2: out=../../etc/passwd has the segment '..' in its path"),
        ("/etc/passwd", "line 2: out=/etc/passwd is an absolute path"),
        ("a/./b", "has the segment '.'"),
        ("a//b", "empty segment"),
        ("a/", "empty segment"),
        ("a\\b", "U+005C"),
        (".staging/a", "begins with a dot"),
        ("a/.hidden", "begins with a dot"),
        ("a./b", "ends in a dot"),
        ("a /b", "begins or ends in a space"),
        ("a\x1bb", "U+001B"),
        ("a\u202eb", "U+202E"),
        ("é" * 121, "segment of more than 240 bytes"),
        ("/".join(["é" * 100] * 6), "more than 880 bytes"),
    ],
)
def test_a_hostile_path_refuses_its_item_alone(out: str, reason: str) -> None:
    draft = read("https://a.example/x", f" out={out}", "https://a.example/y")
    assert list(good(draft)) == ["y"]
    (refusal,) = refusals(draft)
    assert reason in refusal
    assert refusal.startswith("line 2: ")
    assert refusal.isprintable()
    assert draft.artifacts[0].path == ""


@pytest.mark.parametrize("folder", ["/srv", "..", ".", "a/../b", "/", ".git"])
def test_a_hostile_dir_refuses_its_item_alone(folder: str) -> None:
    draft = read("https://a.example/x", f" dir={folder}", " out=x", "https://a.example/y")
    assert list(good(draft)) == ["y"]
    assert refusals(draft)[0].startswith(f"line 2: dir={folder} ")


def test_a_path_is_measured_with_its_dir() -> None:
    draft = read("https://a.example/x", " dir=" + "/".join(["d" * 200] * 5), " out=" + "x" * 200)
    assert "more than 880 bytes" in refusals(draft)[0]


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("file:///etc/passwd", "line 1: file:///etc/passwd is not an http or https URL"),
        ("ftp://a.example/x", "is not an http or https URL"),
        ("javascript:alert(1)", "is not an http or https URL"),
        ("//a.example/x", "is not an http or https URL"),
        ("www.a.example/x", "is not an http or https URL"),
        ("https:///x", "names no host"),
        ("https://:80/x", "names no host"),
        ("https://a_b!/x", "no host name"),
        ("https://.a/x", "no host name"),
        ("https://a%00b/x", "no host name"),
        ("https://[::1/x", "not a readable URL"),
        ("https://[fe80::1%25eth0]/x", ""),
        ("https://[nonsense]/x", ""),
        ("https://a.example:http/x", "port"),
        ("https://a.example:0/x", "port"),
        ("https://a.example:65536/x", "port"),
        ("https://a.example:" + "9" * 5000 + "/x", "port"),
        ("https://a.example/a b.zip", "write it as %20"),
        ("https://a.example/a\u00a0b.zip", "write it as %20"),
        ("https://a.example/a\x07b.zip", "control character U+0007"),
        ("https://a.example\\@b.example/x", "backslash"),
        ("https://a.example/", "ends in a slash; name the file with out= in a list"),
        ("https://a.example", "ends in a slash"),
        ("https://a.example/folder/?x=y", "ends in a slash"),
        ("https://a.example/..%2f..%2fetc%2fpasswd", "encoded slash"),
        ("https://a.example/..", "segment '..'"),
        ("https://a.example/%2e%2e", "segment '..'"),
        ("https://a.example/.htaccess", "begins with a dot"),
        ("https://a.example/a%5Cb", "U+005C"),
        ("https://a.example/a%00b", "U+0000"),
        ("https://a.example/%FF", "not UTF-8"),
        ("https://a.example/" + "x" * 241, "240 bytes"),
    ],
)
def test_a_hostile_url_refuses_its_item_alone(url: str, reason: str) -> None:
    draft = read(url, "https://a.example/y")
    assert list(good(draft)) == ["y"]
    (refusal,) = refusals(draft)
    assert refusal.startswith("line 1: ")
    assert reason in refusal
    assert refusal.isprintable()
    assert len(refusal) < 400


@pytest.mark.parametrize(
    "url",
    [
        "https://user:hunter2@a.example/x",
        "https://user:hunt/er2@a.example/x",
        "https://user:hunter2@a.example:port/x",
        "ftp://user:hunter2@a.example/x",
        "https://user@a.example/x?token=hunter2",
        "https://a.example:port/x?token=hunter2",
    ],
)
def test_secrets_in_a_url_are_refused_and_never_shown(url: str) -> None:
    draft = read(f"{url}\thttps://b.example/x", url)
    assert good(draft) == {"x": ("https://b.example/x",)}
    assert len(refusals(draft)) == 1
    assert "hunt" not in str(as_json(draft))


def test_good_alternates_stay_when_others_are_refused() -> None:
    draft = read("ftp://a.example/x\thttps://b.example/x\thttps://c.example:0/x")
    assert good(draft) == {"x": ("https://b.example/x",)}
    assert draft.notes == (
        (
            "line 1: left out 2 of 3 alternates: ftp://a.example/x is not an http or https URL; "
            "https://c.example:0/x has a port that is no number from 1 to 65535"
        ),
    )


def test_private_addresses_are_the_workers_to_judge() -> None:
    urls = ["http://127.0.0.1:8080/a", "http://[::1]/b", "http://10.0.0.7/c"]
    assert list(good(read(*urls)).values()) == [(url,) for url in urls]


def test_urls_are_put_in_normal_form() -> None:
    draft = read(
        "HTTPS://A.Example:443/X.zip?Q=%41#fragment\thttps://a.example/X.zip?Q=%41",
        "http://[0:0::1]:80/y",
    )
    assert good(draft) == {"X.zip": ("https://a.example/X.zip?Q=%41",), "y": ("http://[::1]/y",)}


def test_a_name_is_decoded_and_its_query_ignored() -> None:
    draft = read("https://a.example/d/e%CC%81t%C3%A9%202021.csv?download=1")
    assert list(good(draft)) == ["été 2021.csv"]


def test_items_keep_the_order_of_the_list() -> None:
    draft = read("https://a.example/x", "ftp://a.example/y", "https://a.example/z")
    assert [item.path for item in draft.artifacts] == ["x", "", "z"]


def test_an_alternate_names_the_file_when_the_first_url_names_none() -> None:
    draft = read("https://a.example/download/\thttps://b.example/x.zip")
    assert list(good(draft)) == ["x.zip"]
    assert len(draft.artifacts[0].sources) == 2


def test_an_indented_url_is_refused_not_guessed_at() -> None:
    draft = read("https://a.example/x", "\thttps://b.example/x", "  https://b.example/y?a=b")
    assert good(draft) == {"x": ("https://a.example/x",)}
    assert [refusal[:7] for refusal in refusals(draft)] == ["line 2:", "line 3:"]
    assert "indented" in refusals(draft)[0]


@pytest.mark.parametrize("checksum", ["sha-256=00", "md5=" + "g" * 32, f"sha-256={MD5}", "md5"])
def test_a_malformed_checksum_refuses_its_item(checksum: str) -> None:
    draft = read("https://a.example/x", f" checksum={checksum}", "https://a.example/y")
    assert list(good(draft)) == ["y"]
    assert refusals(draft)[0].startswith("line 2: checksum=")


def test_contradicting_checksums_refuse_the_item() -> None:
    zeros = "0" * 64
    one = read("https://a.example/x", f" checksum=sha-256={SHA256}", f" checksum=sha-256={zeros}")
    assert refusals(one) == ["line 3: a second, different checksum=sha-256"]
    two = read(
        "https://a.example/x",
        f" checksum=sha-256={SHA256}",
        "https://a.example/x",
        f" checksum=sha-256={zeros}",
        "https://a.example/y",
    )
    assert refusals(two) == ["lines 1, 3 give different checksums for x"]
    assert list(good(two)) == ["y"]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "names no URL"),
        (b"# only a comment\n  out=x\n", "names no URL"),
        (b"https://a.example/x\nPK\x03\x04\xff", "line 2 is not UTF-8"),
        ("https://a.example/x\n".encode("utf-16"), "line 1 is not UTF-8"),
        (b"https://a.example/x\n\0\n", "line 2 holds a NUL byte"),
        (b"\n#" + b"x" * 64 * 1024, "line 2 is longer than 65,536 bytes"),
        (bytes(64 * 1024 * 1024 + 1), "larger than 67,108,864 bytes"),
    ],
)
def test_what_is_no_list_is_refused_as_a_whole(data: bytes, reason: str) -> None:
    with pytest.raises(ImportRefused, match=reason):
        draft_of_list(data, "list.txt")


def test_a_list_of_too_many_files_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(url_list, "MAX_ITEMS", 2)
    assert len(read("https://a.example/1", "https://a.example/2").artifacts) == 2
    with pytest.raises(ImportRefused, match="more than 2 files"):
        read("https://a.example/1", "https://a.example/2", "https://a.example/3")


def test_an_item_of_too_many_alternates_is_refused() -> None:
    urls = [f"https://a.example/{number}/x" for number in range(101)]
    draft = read("\t".join(urls), "\t".join(urls[:100]))
    assert refusals(draft) == ["line 1: names more than 100 alternates"]
    assert len(draft.artifacts[1].sources) == 100


def test_as_json_parts_the_good_from_the_refused() -> None:
    draft = read("https://a.example/x.csv", f" checksum=md5={MD5}", "ftp://a.example/y", " x=y")
    assert as_json(draft) == {
        "name": "list",
        "kind": "list",
        "title": "",
        "licence": "",
        "doi": "",
        "artifacts": [
            {
                "path": "x.csv",
                "sources": ["https://a.example/x.csv"],
                "size": None,
                "sha256": None,
                "md5": MD5,
                "media_type": "text/csv",
            }
        ],
        "refused": [{"reason": "line 3: ftp://a.example/y is not an http or https URL"}],
        "notes": ["line 4: ignored option x="],
    }
