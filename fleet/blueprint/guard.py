"""Names that no bundle takes along: what usually holds a secret, and version control's own files.

A bundle is published and copied to many places, and nothing that was published can be taken back:
it is better to leave out a file that was harmless, and to say so, than the other way round.  A
guard by names cannot find a secret that somebody wrote into a script.
"""

from fnmatch import fnmatchcase
from urllib.parse import parse_qsl

_NEVER = (
    *(".git", ".hg", ".svn", ".bzr"),
    *(".env", ".env.*", "*.env", ".envrc"),
    *("*.pem", "*.key", "*.p12", "*.pfx", "*.jks", "*.keystore", "*.kdbx", "*.ppk"),
    *("id_rsa", "id_dsa", "id_ecdsa", "id_ecdsa_sk", "id_ed25519", "id_ed25519_sk"),
    *(".ssh", ".gnupg", ".aws", ".azure", ".gcloud", ".kube", ".docker"),
    *(".netrc", "_netrc", ".pgpass", ".my.cnf", ".npmrc", ".pypirc", ".htpasswd"),
    *(".git-credentials", ".s3cfg", ".boto", "rclone.conf", ".rclone.conf"),
    *(
        stem + end
        for stem in ("credentials", "secret", "secrets")
        for end in ("", ".json", ".yaml", ".yml", ".toml", ".ini", ".txt")
    ),
    *("client_secret*.json", "service-account*.json", "service_account*.json"),
    *(".vault-password", ".vault_pass", "*.tfstate", "*.tfstate.backup", ".terraform"),
)
_SIGNED = (
    *("x-amz-*", "x-goog-*", "awsaccesskeyid", "googleaccessid", "sig", "signature", "*_signature"),
    *("key", "*apikey", "*api_key", "*api-key", "*token", "*secret*", "password", "passwd", "pwd"),
)
_HARMLESS = (".env.example", ".env.sample", ".env.template", ".env.dist")


def is_kept_out(path: str) -> bool:
    """Whether a path, with ``/`` between its names, is left out of bundles for one of its names."""
    return any(_is_named(name.lower()) for name in path.split("/"))


def is_signed(query: str) -> bool:
    """Whether the query of a URL holds what only its owner should know."""
    names = {name.lower() for name, _ in parse_qsl(query, keep_blank_values=True)}
    return any(fnmatchcase(name, pattern) for name in names for pattern in _SIGNED)


def _is_named(name: str) -> bool:
    return name not in _HARMLESS and any(fnmatchcase(name, pattern) for pattern in _NEVER)
