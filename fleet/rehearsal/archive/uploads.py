"""The S3-like API of the Internet Archive: upload, delete, and whether it has room.

From "ias3 Internet archive S3-like API" (archive.org/developers/ias3.html) and "IAS3API"
(github.com/vmbrasseur/IAS3API); texts of refusals from its "Error Messages" and, for spam, from
github.com/bibanon/tubeup/issues/135.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

from fleet.rehearsal.archive.items import Item
from fleet.rehearsal.exchange import Asked
from fleet.rehearsal.s3.checks import decoded
from fleet.rehearsal.s3.errors import Refused

IDENTIFIER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{2,99}")
META = re.compile(r"x-(?:archive|amz)-meta(\d*)-(.+)")
SPAM = (
    "Your upload of {item} from username {user} appears to be spam. If you believe this is a "
    "mistake, contact info@archive.org and include this entire message in your email."
)


def who(asked: Asked, keys: Mapping[str, str]) -> str:
    """Give the access key of ``Authorization: LOW key:secret``; which refusal is which is assumed.

    Amazon's own signatures are taken by the Archive as well, but not here.
    """
    found = re.fullmatch(r"LOW ([^:\s]+):(\S+)", asked.headers.get("authorization", ""))
    if found is None:
        raise Refused("AccessDenied")
    if found[1] not in keys:
        raise Refused("InvalidAccessKeyId")
    if keys[found[1]] != found[2]:
        raise Refused("SignatureDoesNotMatch")
    return found[1]


def check_head(asked: Asked) -> None:
    """Refuse a body without a length: there is no chunked transfer."""
    if "transfer-encoding" in asked.headers:
        raise Refused("NotImplemented", "Transfer-Encoding is not implemented")
    if "content-length" not in asked.headers:
        raise Refused("MissingContentLength")


def check_md5(asked: Asked, md5: str) -> None:
    """Hold Content-MD5 against what came: in base64, or in hex as the Archive's client sends it."""
    said = asked.headers.get("content-md5")
    if said is None:
        return
    hexadecimal = re.fullmatch("[0-9a-f]{32}", said)
    if (said if hexadecimal else decoded("md5", said).hex()) != md5:
        raise Refused("BadDigest")


def flag(asked: Asked, name: str, usual: str = "0") -> bool:
    """Whether a header that takes 0 or 1 says 1, in either of its spellings."""
    return asked.headers.get(f"x-archive-{name}", asked.headers.get(f"x-amz-{name}", usual)) == "1"


def metadata(asked: Asked, identifier: str, uploader: str, now: float) -> dict[str, list[str]]:
    """Read the metadata headers, sorted as the Archive sorts them, over its own values.

    A number behind ``meta`` lets a field have several values; two dashes stand for an underscore,
    and ``uri(…)`` holds UTF-8 that is percent-encoded.
    """
    given: dict[str, list[str]] = {}
    for name in sorted(asked.headers):
        if found := META.fullmatch(name):
            value = asked.headers[name].encode("latin-1").decode(errors="replace")
            if value.startswith("uri(") and value.endswith(")"):
                value = unquote(value[4:-1])
            given.setdefault(found[2].replace("--", "_"), []).append(value)
    moment = f"{datetime.fromtimestamp(now, UTC):%Y-%m-%d %H:%M:%S}"
    usual = {
        "collection": ["opensource"],
        "mediatype": ["data"],
        "title": [identifier],
        "uploader": [uploader],
        "addeddate": [moment],
        "publicdate": [moment],
    }
    return {"identifier": [identifier], **usual, **given}


def limit(asked: Asked, items: Mapping[str, Item], ration: int) -> dict[str, Any]:
    """Answer ``?check_limit=1&accesskey=…&bucket=…``.

    ``over_limit`` is what clients go by; that rations are per item, and the names of ``bucket_*``,
    were reported by those who met them (github.com/harvard-lil/perma/pull/3263); the rest of the
    detail is assumed.
    """
    bucket, key = asked.param("bucket") or "", asked.param("accesskey") or ""
    queued = len(items[bucket].queue) if bucket in items else 0
    over = queued >= ration
    total = sum(len(item.queue) for item in items.values())
    own = sum(len(item.queue) for item in items.values() if item.uploader == key)
    return {
        "bucket": bucket,
        "accesskey": key,
        "over_limit": int(over),
        "detail": {
            "accesskey_tasks_queued": own,
            "bucket_ration": ration,
            "bucket_tasks_queued": queued,
            "limit_reason": "bucket_tasks_queued exceeds bucket_ration" if over else "",
            "total_tasks_queued": total,
        },
    }
