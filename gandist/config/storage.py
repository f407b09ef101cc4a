"""`cluster.storage` as text: a folder, or the URL of object storage as pyarrow reads it."""

from __future__ import annotations

from urllib.parse import parse_qsl, quote, urlsplit

_SECRET = ("secret", "password", "token", "access_key", "account_key", "credential", "signature")
"""Parts of the names that a query gives to what must stay secret."""
_HARMLESS = ("credential_kind",)


def is_url(storage: str) -> bool:
    """Whether it is a URL and not a folder."""
    return "://" in storage


def require_no_credentials(url: str) -> None:
    """Raises ValueError, which does not repeat them, if the URL holds a key, a secret or a password."""
    parts = urlsplit(url)
    user, at, host = parts.netloc.rpartition("@")
    port = host.rpartition(":")[2] if ":" in host else "0"
    names = [name.lower() for name, _ in parse_qsl(parts.query, keep_blank_values=True)]
    if (
        (at and (":" in user or parts.scheme == "s3"))
        # A secret with a slash in it ends what looks like the host: s3://KEY:SEC/RET@bucket.
        or not port.isdigit()
        or any(word in name for name in names for word in _SECRET if name not in _HARMLESS)
        or "sig" in names
    ):
        raise ValueError(
            "holds credentials, which would be written into config.yaml; leave them out of the URL and give them by "
            "the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, …) or the provider's credential file"
        )


def run_url(storage: str, name: str) -> str:
    """The URL of a run's folder: the storage's with the run's name behind its path, and its query."""
    parts = urlsplit(storage)
    return parts._replace(path=f"{parts.path.rstrip('/')}/{quote(name)}").geturl()


def shown(url: str) -> str:
    """The URL for a person to read: scheme, bucket and path, without its query."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
