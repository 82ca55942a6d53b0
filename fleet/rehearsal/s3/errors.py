"""What S3 answers when it refuses: status, code and message, as XML.

From AWS's "Error responses" (docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html), and for
conditions "How to prevent object overwrites with conditional writes" (…/latest/userguide/
conditional-writes.html).
"""

from collections.abc import Mapping
from xml.sax.saxutils import escape

from fleet.rehearsal.exchange import Answer, Asked

XML = {"Content-Type": "application/xml"}
ERRORS: dict[str, tuple[int, str]] = {
    "AccessDenied": (403, "Access Denied"),
    "AuthorizationHeaderMalformed": (400, "The authorization header that you provided is invalid."),
    "BadDigest": (400, "The Content-MD5 or checksum value that you specified did not match."),
    "ConditionalRequestConflict": (409, "A conflicting operation occurred during the upload."),
    "EntityTooLarge": (400, "Your proposed upload exceeds the maximum allowed object size."),
    "EntityTooSmall": (400, "Your proposed upload is smaller than the minimum allowed size."),
    "ExpiredToken": (400, "The provided token has expired."),
    "InvalidAccessKeyId": (403, "The access key ID that you provided does not exist."),
    "InvalidArgument": (400, "Invalid Argument"),
    "InvalidBucketName": (400, "The specified bucket is not valid."),
    "InvalidDigest": (400, "The Content-MD5 or checksum value that you specified is not valid."),
    "InvalidPart": (400, "One or more of the specified parts could not be found."),
    "InvalidPartOrder": (400, "The list of parts was not in ascending order."),
    "InvalidRange": (416, "The requested range cannot be satisfied."),
    "InvalidRequest": (400, "Invalid Request"),
    "InvalidToken": (400, "The provided token is malformed or otherwise not valid."),
    "KeyTooLongError": (400, "Your key is too long."),
    "MalformedXML": (400, "The XML that you provided was not well formed."),
    "MethodNotAllowed": (405, "The specified method is not allowed against this resource."),
    "MissingContentLength": (411, "You must provide the Content-Length HTTP header."),
    "NoSuchBucket": (404, "The specified bucket does not exist."),
    "NoSuchKey": (404, "The specified key does not exist."),
    "NoSuchUpload": (404, "The specified multipart upload does not exist."),
    "NotImplemented": (501, "A header or parameter that you provided is not implemented."),
    "PreconditionFailed": (
        412,
        "At least one of the preconditions you specified did not hold.",
    ),
    "RequestTimeTooSkewed": (403, "The request time and the server's time differ too much."),
    "SignatureDoesNotMatch": (403, "The signature we calculated does not match the one provided."),
    "SlowDown": (503, "Please reduce your request rate."),
    "XAmzContentSHA256Mismatch": (400, "The provided 'x-amz-content-sha256' does not match."),
}


class Refused(Exception):
    """The request is refused with this code; what else is given takes the usual's place."""

    def __init__(
        self,
        code: str,
        message: str | None = None,
        status: int | None = None,
        resource: str | None = None,
    ) -> None:
        usual, text = ERRORS[code]
        self.code, self.status, self.message = code, status or usual, message or text
        self.resource = resource
        super().__init__(f"{self.code}: {self.message}")

    def answer(self, asked: Asked) -> Answer:
        """Say so."""
        fields = {
            "Code": self.code,
            "Message": self.message,
            "Resource": self.resource or asked.path,
            "RequestId": f"{asked.number:016X}",
        }
        return Answer(self.status, XML, document("Error", element_of(fields)))


def document(root: str, inner: str) -> bytes:
    """Make an XML document."""
    space = "" if root == "Error" else ' xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<{root}{space}>{inner}</{root}>'.encode()


def element_of(fields: Mapping[str, object]) -> str:
    """Make elements of names and values, but for values that are None."""
    return "".join(
        f"<{name}>{escape(str(value))}</{name}>"
        for name, value in fields.items()
        if value is not None
    )
