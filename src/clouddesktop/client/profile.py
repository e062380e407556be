"""Profiles: where a server is and who asks, as `clouddesktop serve` writes to `profile.yaml`."""

from __future__ import annotations

import ipaddress
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import yaml

from clouddesktop.errors import InvalidArgumentError


class ProfileError(InvalidArgumentError):
    """The profile, or a file that it names, is missing or makes no sense."""

    reason = "PROFILE_INVALID"


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """How to reach one server: gRPC at `endpoint` (host:port), HTTPS at `rest` (base URL).

    `ca` is the PEM file that the server's certificate is checked against; None means the system's
    certificates. `key` is the service account's authorised key. `token_file` has a ready token,
    of the server or of an issuer that it trusts, and wins over `key`. With neither, calls have no
    token.
    A `rest` that begins with `http:` says that the server speaks no TLS at all.
    """

    endpoint: str
    rest: str = ""
    ca: Path | None = None
    key: Path | None = None
    token_file: Path | None = None
    cloud_id: str = ""
    folder_id: str = ""

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """Read a profile; relative paths count from its own folder, unknown keys are left alone.

        Raises:
            ProfileError: the file is missing, unreadable or not a profile.
        """
        path = Path(path)
        try:
            record = yaml.safe_load(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise ProfileError(
                f"The profile {path} does not exist.",
                remedy="`clouddesktop serve` writes it into its data folder: name that one.",
            ) from None
        except OSError as error:
            raise ProfileError(
                f"The profile {path} cannot be read: {error.strerror}.",
                remedy="Ask its owner for the right to read it, or name another profile.",
            ) from error
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise ProfileError(
                f"The profile {path} is no YAML: {_first_line(error)}.",
                remedy="Restore the profile.yaml that `clouddesktop serve` wrote.",
            ) from error
        return cls._from_record(record, path)

    @classmethod
    def _from_record(cls, record: Any, path: Path) -> Self:
        if not isinstance(record, dict) or not isinstance(record.get("endpoint"), str):
            raise ProfileError(
                f"The profile {path} has no key `endpoint` with the server's HOST:PORT.",
                remedy="Restore the profile.yaml that `clouddesktop serve` wrote.",
            )
        texts: dict[str, str] = {}
        for name in ("endpoint", "rest", "cloud_id", "folder_id", "ca", "key", "token_file"):
            value = record.get(name)
            if value is not None and not isinstance(value, str):
                raise ProfileError(
                    f"The key `{name}` of the profile {path} is no text.",
                    remedy="Put the value into quotes.",
                )
            texts[name] = value or ""
        return cls(
            endpoint=texts["endpoint"],
            rest=texts["rest"].rstrip("/"),
            ca=path.parent / texts["ca"] if texts["ca"] else None,
            key=path.parent / texts["key"] if texts["key"] else None,
            token_file=path.parent / texts["token_file"] if texts["token_file"] else None,
            cloud_id=texts["cloud_id"],
            folder_id=texts["folder_id"],
        )

    @property
    def is_plaintext(self) -> bool:
        return self.ca is None and self.rest.startswith("http:")

    @property
    def is_loopback(self) -> bool:
        """Whether the server is on this machine, where no proxy leads."""
        host = urlsplit(f"//{self.endpoint}").hostname or ""
        try:
            return host == "localhost" or ipaddress.ip_address(host).is_loopback
        except ValueError:
            return False

    def read_ca(self) -> bytes | None:
        """Read the PEM of `ca`; None when the system's certificates count."""
        return None if self.ca is None else read_profile_file(self.ca, what="CA certificate")

    def make_ssl_context(self) -> ssl.SSLContext:
        """Make what checks the server's certificate over HTTPS."""
        pem = self.read_ca()
        try:
            return ssl.create_default_context(cadata=None if pem is None else pem.decode("ascii"))
        except (ssl.SSLError, ValueError) as error:
            raise ProfileError(
                f"{self.ca} holds no certificate in PEM form.",
                remedy="Name the `tls/ca.pem` of the server's data folder as `ca` in the profile.",
            ) from error


def read_profile_file(path: Path, *, what: str) -> bytes:
    """Read a file that a profile names; `what` says in an error what it is for."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise ProfileError(
            f"The {what} {path} of the profile cannot be read: {error.strerror}.",
            remedy="Correct the path in the profile, or ask its owner for the right to read it.",
        ) from error


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]
