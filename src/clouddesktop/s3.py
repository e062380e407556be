"""How S3 is reached, and what its refusals say: for sources and for the store alike."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_STATUS = re.compile(r"non-2xx status code: (\d{3})")
_CODE = re.compile(r"<Code>(\w{1,60})</Code>")
_BODY = re.compile(r"non-2xx status code: \d{3} [^:\n]*: *[^\s]")
_BAD_CERTIFICATE = re.compile(r"InvalidCertificate\(\s*(\w+)")
_CAUSES = (re.compile(r'message: "([^"]+)"'), re.compile(r"HTTP error: ([^\n]+)"))


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Access:
    """How S3 is reached and who asks; without a key, requests are not signed.

    Without an `endpoint` it is AWS's own of the region.
    """

    endpoint: str | None = None
    region: str | None = None
    access_key_id: str | None = None
    secret_access_key: str | None = field(default=None, repr=False)
    session_token: str | None = field(default=None, repr=False)

    @property
    def is_plain(self) -> bool:
        """Whether the endpoint is spoken to without TLS."""
        return (self.endpoint or "").startswith("http://")

    def to_options(self) -> dict[str, str | bool]:
        """Give obstore's options; what they leave out, it would take from the environment."""
        options: dict[str, str | bool] = {
            "skip_signature": self.access_key_id is None,
            "virtual_hosted_style_request": False,
        }
        if self.endpoint is not None:  # the second name, or obstore takes it from the environment
            options |= {"endpoint": self.endpoint, "aws_endpoint_url_s3": self.endpoint}
        if self.region is not None:
            options["region"] = self.region
        if self.access_key_id is not None:
            options["access_key_id"] = self.access_key_id
            options["secret_access_key"] = self.secret_access_key or ""
        if self.session_token is not None:
            options["session_token"] = self.session_token
        return options


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Answer:
    """What an error's text tells: obstore has HTTP statuses and S3's codes there only.

    `status` is None when there was no answer of HTTP; `bad_certificate` says what is wrong with the
    server's, if something is.
    """

    status: int | None
    code: str
    bad_certificate: str
    is_redirect: bool
    cause: str
    """Why the connection failed, "" if it did not."""

    has_strange_body: bool = False
    """Whether it is HTTP with a body that is not S3's."""

    @classmethod
    def of(cls, text: str) -> S3Answer:
        status, code, bad = (each.search(text) for each in (_STATUS, _CODE, _BAD_CERTIFICATE))
        return cls(
            status=int(status[1]) if status else None,
            code=code[1] if code else "",
            bad_certificate=bad[1] if bad else "",
            is_redirect="redirect without LOCATION" in text,
            cause=_cause_of(text),
            has_strange_body=_BODY.search(text) is not None and not code,
        )

    @property
    def said(self) -> str:
        """The answer in words."""
        return f"HTTP {self.status} ({self.code})" if self.code else f"HTTP {self.status}"


def first_line(text: str) -> str:
    """Give what obstore says before it goes into its own structures, bounded."""
    return text.partition("\n")[0].removeprefix("Generic S3 error: ").rstrip(".")[:300]


def _cause_of(text: str) -> str:
    if "HTTP error" not in text:
        return ""
    if "kind: Timeout" in text:
        return "nothing came for too long"
    causes = [found[1] for each in _CAUSES if (found := each.search(text))]
    return causes[0].rstrip(".").lower()
