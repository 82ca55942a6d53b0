"""AWS Signature Version 4, as a server checks it: in the Authorization header, service ``s3``.

From "Authenticating Requests: Using the Authorization Header (AWS Signature Version 4)"
(docs.aws.amazon.com/AmazonS3/latest/API/sigv4-auth-using-authorization-header.html).  Signatures in
the query (presigned URLs) and chunk by chunk (``STREAMING-…``) are not spoken here; R2 was seen to
refuse the latter with trailing checksums.
"""

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote, unquote

from fleet.rehearsal.exchange import Asked
from fleet.rehearsal.s3.errors import Refused

UNSIGNED = "UNSIGNED-PAYLOAD"
SKEW = 900.0  # fifteen minutes, by the page above
HEADER = re.compile(
    r"AWS4-HMAC-SHA256\s+Credential=([^/,]+)/(\d{8})/([^/,]*)/([^/,]+)/aws4_request,"
    r"\s*SignedHeaders=([^,]+),\s*Signature=([0-9a-f]{64})"
)


@dataclass(frozen=True)
class Key:
    """A secret, what it reaches (``bucket/prefix``) and, if it is temporary, token and end."""

    secret: str
    reach: str = ""
    token: str | None = None
    expires: float = float("inf")


def check(asked: Asked, keys: Mapping[str, Key], now: float) -> Key:
    """Give the key that signed the request; Refused says why it is not let in."""
    found = HEADER.fullmatch(asked.headers["authorization"])
    if found is None:
        raise Refused("AuthorizationHeaderMalformed")
    name, day, region, service, signed, signature = found.groups()
    if service != "s3":
        raise Refused("AuthorizationHeaderMalformed", f"The service should be s3, not {service}.")
    key = keys.get(name)
    if key is None:
        raise Refused("InvalidAccessKeyId")
    stamp = asked.headers.get("x-amz-date", "")
    _check_time(stamp, day, now)
    _check_names(asked, signed.split(";"))
    scope = f"{day}/{region}/s3/aws4_request"
    digest = hashlib.sha256(canonical(asked, signed).encode()).hexdigest()
    message = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{digest}"
    due = hmac.new(_signing_key(key.secret, day, region), message.encode(), "sha256").hexdigest()
    if not hmac.compare_digest(due, signature):
        raise Refused("SignatureDoesNotMatch")
    if asked.headers.get("x-amz-security-token") != key.token:
        raise Refused("InvalidToken")
    if now >= key.expires:
        raise Refused("ExpiredToken")
    return key


def canonical(asked: Asked, signed: str) -> str:
    """Give the canonical request; S3 encodes the path once."""
    path = quote(unquote(asked.target.partition("?")[0]), safe="/~")
    pairs = sorted((quote(key, safe="~"), quote(value, safe="~")) for key, value in asked.query)
    query = "&".join(f"{key}={value}" for key, value in pairs)
    headers = "".join(
        f"{name}:{' '.join(asked.headers.get(name, '').split())}\n" for name in signed.split(";")
    )
    payload = asked.headers["x-amz-content-sha256"]
    return f"{asked.method}\n{path}\n{query}\n{headers}\n{signed}\n{payload}"


def _check_time(stamp: str, day: str, now: float) -> None:
    try:
        at = datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        raise Refused("AccessDenied", "A valid X-Amz-Date header is required.") from None
    if not stamp.startswith(day):
        raise Refused("AuthorizationHeaderMalformed", "Its date differs from X-Amz-Date's.")
    if abs(at.timestamp() - now) > SKEW:
        raise Refused("RequestTimeTooSkewed")


def _check_names(asked: Asked, signed: list[str]) -> None:
    """Host and every x-amz-* header have to be signed, or whoever is between could change them."""
    if "x-amz-content-sha256" not in asked.headers:
        raise Refused("InvalidRequest", "Missing required header: x-amz-content-sha256")
    due = {"host", *(name for name in asked.headers if name.startswith("x-amz-"))}
    if missing := sorted(due - set(signed)):
        raise Refused("AccessDenied", f"There were headers not signed: {', '.join(missing)}")


def _signing_key(secret: str, day: str, region: str) -> bytes:
    key = f"AWS4{secret}".encode()
    for word in (day, region, "s3", "aws4_request"):
        key = hmac.new(key, word.encode(), "sha256").digest()
    return key
