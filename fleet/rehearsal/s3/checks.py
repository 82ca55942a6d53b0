"""The digests of a body, held against all that the client said of it.

* ``Content-MD5``: BadDigest, or InvalidDigest where it is none (AWS, "PutObject").
* ``x-amz-content-sha256``: XAmzContentSHA256Mismatch (AWS, "Error responses").
* ``x-amz-checksum-{sha256,sha1,crc32}``: BadDigest (AWS, "Checking object integrity").

CRC32C and CRC64NVME are left out: the standard library has neither, and in Python alone they would
be the bottleneck.  Whoever sends one is told so rather than believed.  Trailing checksums and
payloads signed chunk by chunk were refused by R2, and are here.
"""

import base64
import binascii
import hashlib
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

from fleet.rehearsal.exchange import Asked
from fleet.rehearsal.s3.errors import Refused
from fleet.rehearsal.s3.sigv4 import UNSIGNED

PREFIX = "x-amz-checksum-"
NO_CHECKSUMS = frozenset({"x-amz-checksum-algorithm", "x-amz-checksum-mode", "x-amz-checksum-type"})
LENGTHS = {"crc32": 4, "md5": 16, "sha1": 20, "sha256": 32}


@dataclass(frozen=True)
class Digests:
    """What was received: its MD5, and the checksums that the client asked to have checked."""

    md5: bytes
    checksums: Mapping[str, bytes]

    @property
    def headers(self) -> dict[str, str]:
        """The checksums, as an answer names them."""
        return {PREFIX + name: encoded(value) for name, value in self.checksums.items()}


class Crc32:
    """CRC-32 with the face of a hashlib digest."""

    def __init__(self) -> None:
        self._value = 0

    def update(self, data: memoryview | bytes) -> None:
        """Go on by some bytes."""
        self._value = zlib.crc32(data, self._value)

    def digest(self) -> bytes:
        """Give it, big-endian, as S3 does."""
        return self._value.to_bytes(4, "big")


def check_body(asked: Asked) -> Digests:
    """Compute what is needed, in one pass; Refused where anything differs."""
    payload = asked.headers.get("x-amz-content-sha256", UNSIGNED)
    if payload != UNSIGNED and re.fullmatch("[0-9a-f]{64}", payload) is None:
        raise Refused("NotImplemented", f"x-amz-content-sha256: {payload} is not implemented")
    said = _said(asked)
    names = {"md5", *said} | ({"sha256"} if payload != UNSIGNED else set())
    digests = {name: new_digest(name) for name in names}
    asked.body.pour(*(digest.update for digest in digests.values()))
    found = {name: digest.digest() for name, digest in digests.items()}
    if payload not in {UNSIGNED, found.get("sha256", b"").hex()}:
        raise Refused("XAmzContentSHA256Mismatch")
    for name, value in said.items():
        if found[name] != value:
            raise Refused("BadDigest")
    return Digests(found["md5"], {name: found[name] for name in sorted(said) if name != "md5"})


def _said(asked: Asked) -> dict[str, bytes]:
    """Give what the client says of its body, by digest."""
    said = {
        name.removeprefix(PREFIX): value
        for name, value in asked.headers.items()
        if name.startswith(PREFIX) and name not in NO_CHECKSUMS
    }
    if "content-md5" in asked.headers:
        said["md5"] = asked.headers["content-md5"]
    for name in ("x-amz-trailer", "x-amz-decoded-content-length"):
        if name in asked.headers:
            raise Refused("NotImplemented", f"{name} is not implemented")
    return {name: decoded(name, value) for name, value in said.items()}


def decoded(name: str, value: str) -> bytes:
    """Read a digest that a client gives in base64."""
    if name not in LENGTHS:
        raise Refused("NotImplemented", f"The checksum {name} is not implemented here")
    try:
        digest = base64.b64decode(value, validate=True)
    except binascii.Error:
        raise Refused("InvalidDigest") from None
    if len(digest) != LENGTHS[name]:
        raise Refused("InvalidDigest")
    return digest


def new_digest(name: str) -> "hashlib._Hash | Crc32":
    """Start a digest of this name."""
    return Crc32() if name == "crc32" else hashlib.new(name, usedforsecurity=False)


def encoded(value: bytes) -> str:
    """Give a digest in base64."""
    return base64.b64encode(value).decode()
