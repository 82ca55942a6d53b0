"""How a bucket is asked: botocore, with its habits reined in.

Rules this module keeps:

- No setting of the environment, no profile and no metadata server is read: keys are given, in
  memory, and asked for anew when they expire, in the middle of an upload too.
- Requests wait for their turn in the provider's budget, and so do the bytes that are sent.
- No checksum is sent but ``Content-MD5``, of what is sent whole: services were seen to refuse
  trailing ones (R2).  Bodies are signed where no TLS keeps them as they are.
- What a service answers is told apart by what is to be done about it (see ``contract``).
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final
from urllib.parse import urlsplit

import botocore.session
from botocore import UNSIGNED
from botocore.config import Config
from botocore.credentials import (
    CredentialProvider,
    CredentialResolver,
    Credentials,
    RefreshableCredentials,
)
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
from botocore.loaders import create_loader

from workers.pull.faults import plain
from workers.pull.pace import Pace
from workers.storage.contract import Absent, Denied, StorageError

PATIENCE: Final = 60  # seconds for an answer
TRIES: Final = 4
CONNECTIONS: Final = 32
# of what botocore would read from files and the environment: nothing
_OURS: Final = {
    "config_file": (None, None, os.devnull, None),
    "credentials_file": (None, None, os.devnull, None),
    "profile": (None, None, None, None),
}
_TOO_MUCH: Final = frozenset({429, 503})
_DATA: Final = create_loader()  # what the service is like, read once: that takes 0.1 s
_BUSY: Final = frozenset(
    {"SlowDown", "ServiceUnavailable", "RequestLimitExceeded", "TooManyRequests", "Throttling"}
)
_ABSENT: Final = frozenset({"404", "NoSuchKey"})
_DENIED: Final = frozenset(
    {
        "AccessDenied",
        "InvalidAccessKeyId",
        "SignatureDoesNotMatch",
        "NoSuchBucket",
        "AllAccessDisabled",
    }
)


@dataclass(frozen=True, slots=True)
class Keys:
    """What a bucket is written with; ``expires`` where they do."""

    key_id: str
    secret: str
    token: str | None = None
    expires: datetime | None = None

    def __repr__(self) -> str:
        """Say nothing that a log should not hold."""
        return f"Keys({self.key_id[:4]}…)"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a bucket is: ``prefix`` is what all paths begin with there, without a slash."""

    endpoint: str
    bucket: str
    prefix: str = ""
    region: str = "auto"

    @property
    def host(self) -> str:
        """Whom its provider's budget knows it by."""
        return urlsplit(self.endpoint).netloc

    def key(self, path: str) -> str:
        """Return the key of a path."""
        return f"{self.prefix}/{path}" if self.prefix else path

    def path(self, key: str) -> str:
        """Return the path of a key."""
        return key.removeprefix(f"{self.prefix}/") if self.prefix else key


def connect(place: Place, keys: Callable[[], Keys] | None, pace: Pace, agent: str) -> Any:
    """Make a client of a place; without keys it asks as anybody may.

    Args:
        place: where the bucket is.
        keys: gives the keys, each time new ones if they expire.
        pace: whose turn each request waits for.
        agent: what to call ourselves.
    """
    is_tls = urlsplit(place.endpoint).scheme == "https"
    session = botocore.session.Session(session_vars=_OURS)
    session.register_component("data_loader", _DATA)
    session.register_component("credential_provider", CredentialResolver([_Given(keys)]))
    client = session.create_client(
        "s3",
        region_name=place.region,
        endpoint_url=place.endpoint,
        config=Config(
            signature_version=UNSIGNED if keys is None else "s3v4",
            s3={"addressing_style": "path", "payload_signing_enabled": not is_tls},
            retries={"mode": "standard", "total_max_attempts": TRIES},
            connect_timeout=PATIENCE,
            read_timeout=PATIENCE,
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            user_agent=agent,
            proxies={},
            max_pool_connections=CONNECTIONS,
        ),
    )
    client.meta.events.register("before-send.s3", lambda **_: pace.request(place.host))
    client.meta.events.register("after-call.s3", partial(_strained, pace, place.host))
    client.meta.events.register("before-call.s3.CopyObject", _as_r2_has_it)
    return client


def _strained(pace: Pace, host: str, http_response: Any, **_: Any) -> None:
    """Note it if the service said that we ask too much: the centre hears of it shortly."""
    if http_response.status_code in _TOO_MUCH:
        text = str(http_response.headers.get("retry-after", ""))
        pace.throttled(host, float(text) if text.isdecimal() else 0.0)


def _as_r2_has_it(params: dict[str, Any], **_: object) -> None:
    """Say a copy's conditions as R2 wants them too, who takes no ``If-Match`` for its target.

    https://developers.cloudflare.com/r2/api/s3/conditional-operations/
    """
    headers = params["headers"]
    for name in ("If-Match", "If-None-Match"):
        if name in headers:
            headers[f"cf-copy-destination-{name.lower()}"] = headers[name]


class _Given(CredentialProvider):
    """Gives botocore the keys that we were given, and no others."""

    METHOD = "fleet"

    def __init__(self, keys: Callable[[], Keys] | None) -> None:
        super().__init__()
        self._keys = keys

    def load(self) -> Credentials | None:
        """Return the keys; those that expire are asked for anew in time."""
        if self._keys is None:
            return None
        first, keys = self._keys(), self._keys
        if first.expires is None:
            return Credentials(first.key_id, first.secret, first.token)
        return RefreshableCredentials.create_from_metadata(
            _metadata(first), lambda: _metadata(keys()), self.METHOD
        )


def _metadata(keys: Keys) -> dict[str, str | None]:
    expires = keys.expires or datetime.max.replace(tzinfo=UTC)
    return {
        "access_key": keys.key_id,
        "secret_key": keys.secret,
        "token": keys.token,
        "expiry_time": expires.isoformat(),
    }


def code_of(error: ClientError) -> str:
    """Name what a service said; the status where it names nothing."""
    return str(error.response.get("Error", {}).get("Code") or status_of(error))


def status_of(error: ClientError) -> int:
    """Return the HTTP status of an answer."""
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


@contextmanager
def told(what: str) -> Iterator[None]:
    """Turn what botocore raises into what is to be done about it.

    Raises:
        StorageError: instead of all that botocore raises.
    """
    try:
        yield
    except ClientError as error:
        code = code_of(error)
        said = plain(str(error.response.get("Error", {}).get("Message", "")))
        reason = f"{what}: {code}: {said}"
        if code in _ABSENT:
            raise Absent(reason) from error
        if code in _DENIED or status_of(error) in (401, 403):
            raise Denied(reason) from error
        busy = code in _BUSY or status_of(error) in (429, 503)
        raise StorageError(reason, _wait(error) if busy else 0.0) from error
    except (BotoCoreError, HTTPClientError, KeyError, RuntimeError, ValueError) as error:
        raise StorageError(f"{what}: {plain(str(error))}") from error


def _wait(error: ClientError) -> float:
    headers = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    try:
        return max(1.0, float(headers.get("retry-after", 1)))
    except ValueError:
        return 1.0
