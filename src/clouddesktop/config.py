"""Settings: command-line options over environment variables over a TOML file over defaults."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from clouddesktop.errors import FieldViolation, InvalidArgumentError

_PREFIX = "CLOUDDESKTOP_"
_GRAPHIC = re.compile(r"[!-~]+")
_HOST_NAME = re.compile(r"[0-9A-Za-z](?:[-.:0-9A-Za-z]{0,251}[0-9A-Za-z])?")  # or an IP address
_TOKEN = re.compile(r"[!-~]+")

OidcAlgorithm = Literal[
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"
]
_EXAMPLES = {
    "source": "images=file:///srv/images",
    "oidc_issuer": "corp=https://sso.example.org",
    "oidc_claim": "corp=email",
}


class Settings(BaseSettings):
    """What `clouddesktop serve` needs to know: each field an option, a variable and a TOML key."""

    model_config = SettingsConfigDict(
        env_prefix=_PREFIX, extra="forbid", frozen=True, env_parse_none_str="none"
    )

    data_dir: Path = Field(Path("clouddesktop-data"), description="Everything the server keeps.")
    grpc: str = Field("127.0.0.1:50051", description="HOST:PORT of the gRPC API; port 0: any.")
    http: str = Field("127.0.0.1:8080", description="HOST:PORT of HTTPS; port 0: any.")
    plaintext: bool = Field(default=False, description="No TLS; for loopback addresses only.")
    reuse_port: bool = Field(
        default=False, description="Listen beside other servers of a shared database."
    )
    database: str | None = Field(
        None, description="sqlite:///PATH or postgresql://…; default in the data folder."
    )
    store: str | None = Field(
        None, description="file:///PATH or s3://BUCKET/PREFIX; default in the data folder."
    )
    source: Annotated[dict[str, str], NoDecode] = Field(
        default_factory=dict, description="NAME=URL of each place where compute images lie."
    )
    source_ca: Path | None = Field(
        None, description="PEM file of further authorities for the certificates of sources."
    )
    source_stall: float = Field(
        30.0, gt=0, description="Seconds without a byte after which a transfer is cut."
    )
    import_allow: tuple[IPv4Network | IPv6Network, ...] = Field(
        (), description="Private networks that images may be imported from all the same."
    )
    import_size: int = Field(1 << 40, gt=0, description="Bytes of a file that is imported.")
    import_time: float = Field(86400.0, gt=0, description="Seconds that fetching it may take.")
    upload_size: int = Field(1 << 40, gt=0, description="Bytes of a file that is uploaded.")
    upload_expire: float = Field(
        86400.0, gt=0, description="Seconds after which an upload is forgotten."
    )
    uploads: Path | None = Field(
        None, description="Folder for uploads, which servers and workers may share."
    )
    spool_size: int | None = Field(
        None, ge=0, description="Bytes for unpacking files; default: what is free, less 1 GiB."
    )
    workers: int = Field(
        2, ge=0, le=64, description="Copies that run at a time here; 0: elsewhere, on PostgreSQL."
    )
    worker_lease: float = Field(
        15.0, ge=1, description="Seconds without a sign of life before a worker counts as dead."
    )
    folder_copies: int | None = Field(
        None, ge=1, description="Copies of a folder that run at a time; default: any number."
    )
    sandbox: Literal["required", "preferred"] = Field(
        "required", description="Whether disks that need QEMU are read where it has no sandbox."
    )
    collect_after: int = Field(
        3600, ge=0, description="Seconds of garbage before a collection by itself; 0: never."
    )
    encryption_keys: Path | None = Field(
        None, description="A file of keys by which the store is encrypted; the first is used."
    )
    scrub_rate: int = Field(
        100_000_000, ge=0, description="Bytes a second that a scrub reads at most; 0: no bound."
    )
    operation_retention: float = Field(
        30.0, ge=0, description="Days that an operation is kept after its end; 0: for ever."
    )
    rate_limit: float = Field(
        0.0, ge=0, description="Calls a second that a subject may make in the long run; 0: any."
    )
    rate_burst: int = Field(
        100, ge=1, description="Calls that a subject may make at once, where there is a rate limit."
    )
    audit_size: int = Field(
        100_000_000, ge=1 << 16, description="Bytes of an audit log's file before a new one begins."
    )
    audit_files: int = Field(
        100, ge=1, description="Full files of the audit log that are kept; the oldest go."
    )
    oidc_issuer: Annotated[dict[str, str], NoDecode] = Field(
        default_factory=dict, description="NAME=URL of each issuer whose tokens are taken."
    )
    oidc_audience: Annotated[dict[str, tuple[str, ...]], NoDecode] = Field(
        default_factory=dict, description="NAME=AUDIENCE that an issuer's tokens have to be for."
    )
    oidc_claim: Annotated[dict[str, str], NoDecode] = Field(
        default_factory=dict, description="NAME=CLAIM that tells an issuer's subjects apart."
    )
    oidc_algorithms: tuple[OidcAlgorithm, ...] = Field(
        (), description="What those tokens may be signed with; default: all that are known."
    )
    oidc_ca: Path | None = Field(
        None, description="PEM file of further authorities for the certificates of issuers."
    )
    oidc_clock_skew: float = Field(
        60.0, ge=0, le=600, description="Seconds by which an issuer's clock may differ."
    )
    config: Path | None = Field(None, description="A TOML file with these settings.")
    names: tuple[str, ...] = Field(
        (), description="Further host names of this server, for its certificate and token audience."
    )

    @field_validator(*_EXAMPLES, mode="before")
    @classmethod
    def _read_named(cls, value: Any, info: ValidationInfo) -> Any:
        """Take NAME=VALUE texts, or one text with several of them, as well as a table."""
        if not isinstance(value, (str, list, tuple)):
            return value
        named: dict[str, str] = {}
        for name, text in _split_named(value, example=_EXAMPLES[info.field_name or ""]):
            if name in named:
                raise ValueError(f"{name!r} is named twice")
            named[name] = text
        return named

    @field_validator("oidc_audience", mode="before")
    @classmethod
    def _read_audiences(cls, value: Any) -> Any:
        """Take the same, where a name may come more than once; in a table, a text for a list."""
        if isinstance(value, dict):
            return {
                name: (each,) if isinstance(each, str) else each for name, each in value.items()
            }
        if not isinstance(value, (str, list, tuple)):
            return value
        audiences: dict[str, tuple[str, ...]] = {}
        for name, text in _split_named(value, example="corp=clouddesktop"):
            audiences[name] = (*audiences.get(name, ()), text)
        return audiences

    @field_validator("names")
    @classmethod
    def _check_names(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if not _HOST_NAME.fullmatch(name):
                raise ValueError(
                    f"{name!r} is no host name; write international ones in their ASCII form"
                )
        return names

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003  (pydantic's signature)
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003  (pydantic's signature)
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        path = init_settings().get("config") or env_settings().get("config")
        if path is None:
            return init_settings, env_settings
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, path)


class OpenStackSettings(BaseSettings):
    """How to log in at OpenStack: its standard variables and nothing else, for they hold secrets.

    Either the token, or all of the other three, or none.
    """

    model_config = SettingsConfigDict(
        env_prefix="OS_", env_ignore_empty=True, extra="ignore", frozen=True
    )

    token: SecretStr | None = None
    auth_url: str | None = None
    application_credential_id: str | None = None
    application_credential_secret: SecretStr | None = None


def load_openstack_settings() -> OpenStackSettings:
    """Read OpenStack's variables.

    Raises:
        InvalidArgumentError: a login is given in part, or twice; or a token that cannot be one.
    """
    found = OpenStackSettings()
    credential = {
        "OS_AUTH_URL": found.auth_url,
        "OS_APPLICATION_CREDENTIAL_ID": found.application_credential_id,
        "OS_APPLICATION_CREDENTIAL_SECRET": found.application_credential_secret,
    }
    is_begun = bool(found.application_credential_id or found.application_credential_secret)
    missing = [name for name, value in credential.items() if is_begun and not value]
    why = ""
    if missing:
        why = f"it lacks {' and '.join(missing)}"
    elif is_begun and found.token:
        why = "OS_TOKEN and an application credential are both given"
    elif found.token and not _TOKEN.fullmatch(found.token.get_secret_value()):
        why = "OS_TOKEN has characters that no token has"
    if why:
        raise InvalidArgumentError(
            f"The login for OpenStack is not clear: {why}.",
            remedy="Set OS_AUTH_URL, OS_APPLICATION_CREDENTIAL_ID and "
            "OS_APPLICATION_CREDENTIAL_SECRET, or OS_TOKEN, and unset the rest.",
        )
    return found


def load_settings(**options: Any) -> Settings:
    """Put the settings together; `options` that are None were not given.

    Raises:
        InvalidArgumentError: names each setting that is wrong or unknown, or the missing file.
    """
    given = {name: value for name, value in options.items() if value is not None}
    path = given.get("config")
    if path is not None and not Path(path).is_file():
        raise InvalidArgumentError(
            f"The settings file {path} does not exist.", remedy="Name an existing TOML file."
        )
    try:
        return Settings(**given)
    except ValidationError as error:
        violations = [
            FieldViolation(field=".".join(map(str, each["loc"])), description=_in_words(each))
            for each in error.errors()
        ]
        lines = "; ".join(f"{each.field}: {each.description}" for each in violations)
        raise InvalidArgumentError(
            f"The settings are not valid: {lines}.",
            violations=violations,
            remedy="Correct the option, the CLOUDDESKTOP_… variable or the key of the TOML file.",
        ) from error


class AwsSettings(BaseSettings):
    """How S3 is reached: AWS's standard variables and nothing else, for they hold secrets."""

    model_config = SettingsConfigDict(
        env_prefix="AWS_", env_ignore_empty=True, extra="ignore", frozen=True
    )

    access_key_id: str | None = None
    secret_access_key: SecretStr | None = None
    session_token: SecretStr | None = None
    region: str | None = None
    default_region: str | None = None
    endpoint_url: str | None = None
    endpoint_url_s3: str | None = None
    ca_bundle: Path | None = None

    @field_validator("*", mode="before")
    @classmethod
    def _strip(cls, value: Any) -> Any:
        """Leave out the line break that files and secret stores put at the end."""
        return value.strip() or None if isinstance(value, str) else value

    @property
    def secrets(self) -> list[str]:
        """What is sent in headers."""
        given = (self.secret_access_key, self.session_token)
        return [self.access_key_id or "-", *(each.get_secret_value() for each in given if each)]

    @property
    def s3_endpoint(self) -> str | None:
        """The endpoint that counts: the more special one."""
        return self.endpoint_url_s3 or self.endpoint_url


def load_aws_settings() -> AwsSettings:
    """Read AWS's variables.

    Raises:
        InvalidArgumentError: half of a key is given, or an endpoint that is no URL.
    """
    _drop_empty_variables("AWS_")
    found = AwsSettings()
    why = ""
    if (found.access_key_id is None) != (found.secret_access_key is None):
        why = "only one of AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY is set"
    elif not _is_server_url(found.s3_endpoint or "https://aws"):
        why = "AWS_ENDPOINT_URL is no URL with https:// or http://"
    elif not all(map(_GRAPHIC.fullmatch, found.secrets)):
        why = "a key or a token has a blank or a line break in it"
    if why:
        raise InvalidArgumentError(
            f"The access to S3 is not clear: {why}.",
            remedy="Set both keys, or neither for buckets that anyone may read; and the server's "
            "URL, or none for AWS.",
        )
    return found


def find_notify_socket() -> str | None:
    """Give the socket at which systemd waits for news of this process, if it does."""
    return os.environ.get("NOTIFY_SOCKET") or None  # noqa: TID251  (here it is read)


def _drop_empty_variables(prefix: str) -> None:
    """Take out of the environment what is set to nothing: libraries read some of it themselves."""
    for name, value in list(os.environ.items()):  # noqa: TID251  (here it is read)
        if name.startswith(prefix) and not value.strip():
            del os.environ[name]  # noqa: TID251  (here it is read)


def _split_named(value: str | Sequence[Any], *, example: str) -> Iterator[tuple[str, str]]:
    for each in value.split() if isinstance(value, str) else value:
        name, equals, text = str(each).partition("=")
        if not (name and equals and text):
            raise ValueError(f"{each!r} is not NAME=VALUE, such as {example}")
        yield name, text


def _is_server_url(text: str) -> bool:
    try:
        url = urlsplit(text)
        is_known = url.scheme in ("https", "http") and url.port != 0
    except ValueError:
        return False
    return is_known and bool(_GRAPHIC.fullmatch(text)) and bool(url.hostname)


def _in_words(error: ErrorDetails) -> str:
    if error["type"] == "extra_forbidden":
        return "there is no such setting"
    return error["msg"].removeprefix("Value error, ")
