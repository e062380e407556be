"""The operator's access to S3, out of AWS's standard variables."""

from __future__ import annotations

from urllib.parse import urlsplit

from pydantic import SecretStr

from clouddesktop.config import Settings, load_aws_settings
from clouddesktop.source.s3 import S3Access


def find_s3_access(settings: Settings) -> S3Access | None:
    """Read it if a source wants it; a shell's other variables are none of our business.

    Raises:
        InvalidArgumentError: the variables contradict each other.
    """
    if not any(urlsplit(url).scheme == "s3" for url in settings.source.values()):
        return None
    found = load_aws_settings()
    return S3Access(
        endpoint=found.s3_endpoint,
        region=found.region or found.default_region,
        access_key_id=found.access_key_id,
        secret_access_key=_reveal(found.secret_access_key),
        session_token=_reveal(found.session_token),
    )


def _reveal(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()
