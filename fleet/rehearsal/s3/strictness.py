"""How strict the S3 server is, as data; the defaults are R2's.

Sources: R2's "Limits" (developers.cloudflare.com/r2/platform/limits), "Multipart upload"
(…/r2/objects/multipart-objects), "S3 API compatibility" (…/r2/api/s3/api) and "Conditional
operations" (…/r2/api/s3/conditional-operations); AWS's "Multipart
upload limits" (docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html); the README of Source
Cooperative's proxy (github.com/source-cooperative/data.source.coop).
"""

from dataclasses import dataclass

MIB, GIB, TIB = 1 << 20, 1 << 30, 1 << 40
DAY = 86_400.0


@dataclass(frozen=True)
class Strictness:
    """One provider's habits."""

    equal_parts: bool = True
    """R2: all parts but the last have one size, and the last is no larger ("Multipart upload")."""

    least_part: int = 5 * MIB
    """AWS and R2: of every part but the last."""

    most_part: int = 5 * GIB
    """AWS and R2: of a part, and of an object put in one request."""

    most_parts: int = 10_000
    """AWS and R2."""

    most_object: int = 5 * TIB
    """R2's; AWS's is 48.8 TiB."""

    upload_age: float = 7 * DAY
    """R2: an upload that is not completed by then is dropped."""

    seconds_a_write: float = 0.0
    """R2: one write a second to a key, else 429."""

    hurried: int = 429
    """R2 answers this to too many writes; AWS and Backblaze answer 503 SlowDown."""

    copy_conditions: str = "cf-copy-destination-"
    """R2's headers for what a CopyObject replaces begin so ("Conditional operations"); AWS's are
    those of any write."""

    public: frozenset[str] = frozenset()
    """Buckets that anyone may read and list without a signature, as at data.source.coop."""

    listing_age: float = 0.0
    """Source Cooperative's proxy: a listing may be a minute old (README, "cache")."""

    head_without_length: bool = False
    """Source Cooperative's proxy, as its users reported: HEAD names no Content-Length."""

    longest_range: int = TIB
    """Source Cooperative's proxy, as its users reported: ranges are cut at about 2.3 MB."""


R2 = Strictness(seconds_a_write=1.0)
AWS = Strictness(equal_parts=False, most_object=48 * TIB, hurried=503, copy_conditions="")
SOURCE_COOPERATIVE = Strictness(
    equal_parts=False,
    copy_conditions="",
    listing_age=60.0,
    head_without_length=True,
    longest_range=2_300_000,
)
