"""A client that signs requests for the S3 server, or fails to, as a test wants it."""

import hashlib
import hmac
import re
import time
from typing import Any
from urllib.parse import parse_qsl, quote

import httpx

UNSIGNED = "UNSIGNED-PAYLOAD"


class Signed(httpx.Auth):
    """AWS Signature Version 4, by the steps of its documentation."""

    def __init__(
        self, key: str = "id", secret: str = "secret", token: str | None = None, at: float = 0.0
    ) -> None:
        self.key, self.secret, self.token, self.at = key, secret, token, at

    def auth_flow(self, request: httpx.Request) -> Any:
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(self.at or time.time()))
        request.headers["x-amz-date"] = stamp
        if "x-amz-content-sha256" not in request.headers:
            request.headers["x-amz-content-sha256"] = hashlib.sha256(request.read()).hexdigest()
        if self.token is not None:
            request.headers["x-amz-security-token"] = self.token
        request.headers["Authorization"] = self.header(request, stamp)
        yield request

    def header(self, request: httpx.Request, stamp: str) -> str:
        names = sorted(
            name for name in request.headers if name.startswith(("x-amz-", "host", "content-md5"))
        )
        raw, _, query = request.url.raw_path.decode().partition("?")
        lines = [request.method, raw, "&".join(sorted(_pairs(query)))]
        lines += [f"{name}:{request.headers[name].strip()}" for name in names]
        lines += ["", ";".join(names), request.headers["x-amz-content-sha256"]]
        scope = f"{stamp[:8]}/auto/s3/aws4_request"
        digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()
        key = f"AWS4{self.secret}".encode()
        for word in scope.split("/"):
            key = hmac.new(key, word.encode(), "sha256").digest()
        text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{digest}"
        signature = hmac.new(key, text.encode(), "sha256").hexdigest()
        return (
            f"AWS4-HMAC-SHA256 Credential={self.key}/{scope}, "
            f"SignedHeaders={';'.join(names)}, Signature={signature}"
        )


def _pairs(query: str) -> list[str]:
    pairs = parse_qsl(query, keep_blank_values=True)
    return [f"{quote(key, safe='~')}={quote(value, safe='~')}" for key, value in pairs]


def path(key: str, bucket: str = "bucket") -> str:
    return f"/{bucket}/{quote(key, safe='/~')}"


def code(answer: httpx.Response) -> tuple[int, str]:
    """The status and S3's code of a refusal."""
    return answer.status_code, element(answer, "Code")


def element(answer: httpx.Response, name: str) -> str:
    return (elements(answer, name) or [""])[0]


def elements(answer: httpx.Response, name: str) -> list[str]:
    return re.findall(f"<{name}>([^<]*)</{name}>", answer.text)


def completion(parts: dict[int, str]) -> str:
    """The body that completes an upload of these parts, by their ETags."""
    inner = "".join(
        f"<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>"
        for number, etag in parts.items()
    )
    return f"<CompleteMultipartUpload>{inner}</CompleteMultipartUpload>"
