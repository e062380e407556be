"""The API by plain HTTP, with a token that came by plain HTTP."""

from __future__ import annotations

import json
import ssl
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import jwt
import yaml

POLL_SECONDS = 0.05


class RestClient:
    """An HTTP client of a server's REST; `http` may be used as it is."""

    def __init__(self, profile: Path) -> None:
        settings = yaml.safe_load(profile.read_text())
        self.folder_id: str = settings["folder_id"]
        self.cloud_id: str = settings["cloud_id"]
        self._endpoint: str = settings["endpoint"]
        self._key = json.loads(Path(settings["key"]).read_text())
        context = ssl.create_default_context(cafile=settings["ca"])
        self.http = httpx.Client(base_url=settings["rest"], verify=context, timeout=30)
        answer = self.http.post("/iam/v1/tokens", json={"jwt": self.sign()})
        assert answer.status_code == 200, answer.text
        self.token: str = answer.json()["iamToken"]
        self.http.headers["authorization"] = f"Bearer {self.token}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.http.close()

    def sign(self) -> str:
        """Make the JWT that is traded for a token."""
        now = int(time.time())
        claims = {
            "iss": self._key["service_account_id"],
            "aud": f"https://iam.{self._endpoint}/iam/v1/tokens",
            "iat": now,
            "exp": now + 600,
        }
        pem = self._key["private_key"].partition("\n")[2]
        return jwt.encode(claims, pem, algorithm="PS256", headers={"kid": self._key["id"]})

    def call(self, verb: str, path: str, *, status: int = 200, **options: Any) -> Any:
        """Call, and give the JSON that came; the HTTP status must be this one."""
        answer = self.http.request(verb, path, **options)
        assert answer.status_code == status, answer.text
        assert answer.headers["content-type"] == "application/json"
        return answer.json()

    def wait(self, operation_id: str, *, timeout_seconds: float = 60) -> Any:
        """Poll until an operation is done."""
        deadline = time.monotonic() + timeout_seconds
        while time.monotonic() < deadline:
            operation = self.call("GET", f"/operations/{operation_id}")
            if operation.get("done"):
                return operation
            time.sleep(POLL_SECONDS)
        raise AssertionError(f"Operation {operation_id} is not done after {timeout_seconds} s.")
