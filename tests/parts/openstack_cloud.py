"""OpenStack's own Keystone and Glance on this machine, and a way to Glance that can be faulty."""

from __future__ import annotations

import sqlite3
import ssl
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from clouddesktop.app.tls import TlsFiles, prepare_tls
from parts.web import Fault, Handler, WebServer

_ROOT = Path(__file__).parents[2]
_PYTHON = _ROOT / ".tools/openstack/bin/python"
_SERVE = Path(__file__).parent / "openstack/serve.py"
_INSTALL_SECONDS = 300

_KEYSTONE_CONF = """
[DEFAULT]
log_file = {folder}/log
[database]
connection = sqlite:///{folder}/db.sqlite
[fernet_tokens]
key_repository = {folder}/fernet
"""

_GLANCE_CONF = """
[DEFAULT]
log_file = {folder}/log
enabled_backends = fast:file,whole:file
enabled_import_methods = []
worker_self_reference_url = https://localhost
[database]
connection = sqlite:///{folder}/db.sqlite
[glance_store]
default_backend = fast
[fast]
filesystem_store_datadir = {folder}/fast
[whole]
filesystem_store_datadir = {folder}/whole
[os_glance_staging_store]
filesystem_store_datadir = {folder}/staging
[os_glance_tasks_store]
filesystem_store_datadir = {folder}/tasks
[paste_deploy]
flavor = keystone
config_file = {python_folder}/etc/glance/glance-api-paste.ini
[keystone_authtoken]
auth_url = {keystone}
auth_type = password
interface = public
cafile = {ca}
username = admin
password = secret
project_name = admin
user_domain_id = default
project_domain_id = default
token_cache_time = -1
service_type = image
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """An application credential."""

    id: str
    secret: str


class OpenStack:
    """A cloud with one user, admin. Its stores are `fast`, and `whole`, which has no ranges."""

    def __init__(self, folder: Path, *, tls: TlsFiles, keystone: str, glance: str) -> None:
        self.folder = folder
        self.tls = tls
        self.keystone = keystone
        self.glance = glance
        self.client = httpx.Client(
            verify=ssl.create_default_context(cafile=str(tls.ca)), timeout=60, trust_env=False
        )
        self.token = self.issue_token()
        self._list_glance()

    def issue_token(self) -> str:
        """Log in by the password."""
        domain = {"id": "default"}
        answer = self._post(
            f"{self.keystone}/auth/tokens",
            {
                "auth": {
                    "identity": {
                        "methods": ["password"],
                        "password": {
                            "user": {"name": "admin", "domain": domain, "password": "secret"}
                        },
                    },
                    "scope": {"project": {"name": "admin", "domain": domain}},
                }
            },
        )
        self.user_id = answer.json()["token"]["user"]["id"]
        return answer.headers["x-subject-token"]

    def revoke(self, token: str) -> None:
        """End a token before its time; Keystone does not do that for logins with access rules."""
        headers = {"x-auth-token": self.token, "x-subject-token": token}
        self.client.delete(f"{self.keystone}/auth/tokens", headers=headers).raise_for_status()

    def make_login(self, name: str, *, role: str = "member", has_rules: bool = True) -> Login:
        """Make an application credential with the rights that docs/sources.md has for it."""
        paths = ("/v2/images", "/v2/images/*", "/v2/images/*/file")
        rules = [{"service": "image", "method": "GET", "path": path} for path in paths]
        wanted: dict[str, Any] = {"name": name, "roles": [{"name": role}]}
        if has_rules:
            wanted["access_rules"] = rules
        made = self._post(
            f"{self.keystone}/users/{self.user_id}/application_credentials",
            {"application_credential": wanted},
        ).json()["application_credential"]
        return Login(id=made["id"], secret=made["secret"])

    def make_image(self, content: bytes | None, *, store: str = "fast", **properties: Any) -> str:
        """Make an image; without content it stays queued."""
        record = {"name": "image", "disk_format": "raw", "container_format": "bare", **properties}
        image_id: str = self._post(f"{self.glance}/v2/images", record).json()["id"]
        if content is not None:
            self.client.put(
                f"{self.glance}/v2/images/{image_id}/file",
                content=content,
                headers={
                    "x-auth-token": self.token,
                    "content-type": "application/octet-stream",
                    "x-image-meta-store": store,
                },
            ).raise_for_status()
        return image_id

    def delete(self, image_id: str) -> None:
        self.client.delete(
            f"{self.glance}/v2/images/{image_id}", headers={"x-auth-token": self.token}
        ).raise_for_status()

    def deactivate(self, image_id: str) -> None:
        self.client.post(
            f"{self.glance}/v2/images/{image_id}/actions/deactivate",
            headers={"x-auth-token": self.token},
        ).raise_for_status()

    def replace(self, image_id: str, content: bytes) -> None:
        """Delete an image, purge its record, and make another one with its id."""
        self.delete(image_id)
        with sqlite3.connect(self.folder / "glance/db.sqlite") as connection:
            connection.execute("DELETE FROM image_locations WHERE image_id = ?", (image_id,))
            connection.execute("DELETE FROM images WHERE id = ?", (image_id,))
        connection.close()
        assert self.make_image(content, id=image_id) == image_id

    def data_file(self, image_id: str, *, store: str = "fast") -> Path:
        """Where Glance keeps an image's data."""
        return self.folder / "glance" / store / image_id

    def _list_glance(self) -> None:
        """Put Glance into Keystone's list of services, for access rules, at a false address."""
        service = {"service": {"type": "image", "name": "glance"}}
        made = self._post(f"{self.keystone}/services", service).json()["service"]
        endpoint = {
            "interface": "public",
            "url": "https://glance.invalid",
            "service_id": made["id"],
        }
        self._post(f"{self.keystone}/endpoints", {"endpoint": endpoint})

    def _post(self, url: str, body: dict[str, Any]) -> httpx.Response:
        headers = {"x-auth-token": self.token} if hasattr(self, "token") else {}
        return self.client.post(url, json=body, headers=headers).raise_for_status()


class GlanceHandler(Handler):
    """Passes requests on to the real Glance."""

    server: Any

    def answer(self) -> None:
        self.send(*self.ask())

    def ask(self, *, leave_out: str = "") -> tuple[int, bytes, dict[str, str]]:
        """Give the real Glance's answer, to a request that lacks a header, if so wished."""
        web: GlanceProxy = self.server.web
        names = {"range", "x-auth-token", "accept", "x-http-method"} - {leave_out}
        headers = {each: self.headers[each] for each in names if each in self.headers}
        found = web.cloud.client.get(web.cloud.glance + self.path, headers=headers)
        kept = {"content-range", "content-md5", "content-type", "location"}
        return (
            found.status_code,
            found.content,
            {name: value for name, value in found.headers.items() if name in kept},
        )


class GlanceProxy(WebServer):
    """A reverse proxy before Glance, with the faults of `parts.web`."""

    def __init__(self, cloud: OpenStack) -> None:
        super().__init__(cloud.folder, tls=cloud.tls.ca.parent, handler=GlanceHandler)
        self.cloud = cloud

    def spoil_data(self, image_id: str, fault: Fault) -> None:
        """Have a fault with the requests for an image's data."""
        self.faults[data_path(image_id)] = fault


def data_path(image_id: str) -> str:
    return f"/v2/images/{image_id}/file"


def cut_data(handler: Any, _number: int) -> bool:
    """Promise all that Glance gives, send a third of it, and hang up."""
    status, body, headers = handler.ask()
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name, value)
    handler.send_header("content-length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body[: len(body) // 3])
    handler.wfile.flush()
    handler.close_connection = True
    return True


def spoil_range(handler: Any, _number: int) -> bool:
    """Ignore that only a part is wanted."""
    handler.send(*handler.ask(leave_out="range"))
    return True


@pytest.fixture(scope="module")
def openstack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenStack]:
    """The real Keystone and Glance; installed at the first use."""
    subprocess.run([_ROOT / "scripts/openstack"], check=True, timeout=_INSTALL_SECONDS)
    folder = tmp_path_factory.mktemp("openstack")
    tls = prepare_tls(folder / "tls", names={"localhost", "127.0.0.1"})
    with ExitStack() as stack:
        keystone = _serving(stack, "keystone", folder, tls, _KEYSTONE_CONF)
        identity = f"https://localhost:{keystone()}/v3"
        glance = _serving(
            stack, "glance", folder, tls, _GLANCE_CONF.replace("{keystone}", identity)
        )
        cloud = OpenStack(
            folder, tls=tls, keystone=identity, glance=f"https://localhost:{glance()}"
        )
        stack.callback(cloud.client.close)
        yield cloud


def _serving(
    stack: ExitStack, kind: str, folder: Path, tls: TlsFiles, conf: str
) -> Callable[[], int]:
    """Start a service; the result waits for its port."""
    own = folder / kind
    own.mkdir()
    name = {"keystone": "keystone.conf", "glance": "glance-api.conf"}[kind]
    values = {"folder": own, "python_folder": _PYTHON.parents[1], "ca": tls.ca}
    (own / name).write_text(conf.format(**values))
    log = stack.enter_context((own / "output").open("w"))
    process = subprocess.Popen(
        [_PYTHON, _SERVE, kind, own, tls.certificate, tls.key],
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
    )

    def stop() -> None:
        process.kill()
        process.communicate()

    stack.callback(stop)

    def port() -> int:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, (own / "output").read_text()[-4000:]
        return int(line)

    return port


@contextmanager
def proxied(cloud: OpenStack) -> Iterator[GlanceProxy]:
    """Have a proxy before Glance until the end."""
    proxy = GlanceProxy(cloud)
    proxy.start()
    try:
        yield proxy
    finally:
        proxy.stop()
