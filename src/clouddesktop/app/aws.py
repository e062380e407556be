"""The operator's access to S3, out of AWS's standard variables."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from pydantic import SecretStr

from clouddesktop.config import Settings, load_aws_settings
from clouddesktop.errors import InvalidArgumentError
from clouddesktop.s3 import S3Access


def find_s3_access(settings: Settings) -> S3Access | None:
    """Read it if a source wants it; a shell's other variables are none of our business.

    Raises:
        InvalidArgumentError: the variables contradict each other.
    """
    if not any(urlsplit(url).scheme == "s3" for url in settings.source.values()):
        return None
    return load_s3_access()


def load_s3_access() -> S3Access:
    """Read it.

    Raises:
        InvalidArgumentError: the variables contradict each other.
    """
    found = load_aws_settings()
    return S3Access(
        endpoint=found.s3_endpoint,
        region=found.region or found.default_region,
        access_key_id=found.access_key_id,
        secret_access_key=_reveal(found.secret_access_key),
        session_token=_reveal(found.session_token),
    )


def find_s3_authorities() -> Path | None:
    """Find the PEM file of further authorities for certificates, if there is one.

    Raises:
        InvalidArgumentError: it is named and not there.
    """
    path = load_aws_settings().ca_bundle
    if path is not None and not path.is_file():
        raise InvalidArgumentError(
            f"AWS_CA_BUNDLE names {path}, which is no file.",
            remedy="Name a PEM file of authorities, or unset it.",
        )
    return path


def _reveal(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()
