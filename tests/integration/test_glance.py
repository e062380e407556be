"""OpenStack's Glance as a source: the real Glance and Keystone, and faults on the way to them."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from yandex.cloud.clouddesktop.v1.desktop_image_pb2 import DesktopImage
from yandex.cloud.operation.operation_pb2 import Operation

from clouddesktop.catalog import tables
from clouddesktop.copying.spooling import spool_whole
from clouddesktop.disk.spool import Spool
from clouddesktop.errors import Code
from clouddesktop.model.image import ComputeImage
from clouddesktop.source import glance_api
from clouddesktop.source.base import SourceChangedError, SourceUnreadableError
from clouddesktop.source.glance import GlanceSource, UnfitGlanceImageError
from clouddesktop.source.keystone import ApplicationCredential, OpenStackAccess
from clouddesktop.source.remote import BLOCK_SIZE, RemoteFile, StreamedFile
from parts.disks import MIB, convert, random_bytes, write_raw
from parts.inspection import Inspection
from parts.official import OfficialClient
from parts.openstack_cloud import (
    GlanceProxy,
    Login,
    OpenStack,
    cut_data,
    proxied,
    spoil_range,
)
from parts.server import ServerProcess
from parts.web import Fault, Handler, once, status

CONTENT = random_bytes(3 * BLOCK_SIZE + 12345, seed=21)
SIZE = 40 * MIB
NOT_THERE = "00000000-0000-4000-8000-000000000000"

MakeSource = Callable[..., GlanceSource]


@pytest.fixture
def proxy(openstack: OpenStack) -> Iterator[GlanceProxy]:
    with proxied(openstack) as proxy:
        yield proxy


@pytest.fixture
def login(openstack: OpenStack) -> Login:
    return openstack.make_login(uuid.uuid4().hex)


@pytest.fixture
def make_source(openstack: OpenStack, proxy: GlanceProxy) -> Iterator[MakeSource]:
    made: list[GlanceSource] = []

    def make(
        *, query: str = "", login: Login | None = None, token: str | None = openstack.token
    ) -> GlanceSource:
        access = OpenStackAccess(token=token)
        if login is not None:
            credential = ApplicationCredential(
                auth_url=openstack.keystone, id=login.id, secret=login.secret
            )
            access = OpenStackAccess(application_credential=credential)
        made.append(
            GlanceSource(
                name="cloud",
                folder_id="f",
                url=proxy.url + query,
                access=access,
                ca_file=str(openstack.tls.ca),
                stall_seconds=10,
            )
        )
        return made[-1]

    yield make
    for each in made:
        each.close()


def image(image_id: str) -> ComputeImage:
    return ComputeImage(id=image_id, folder_id="f", source="cloud", location=image_id)


def read(source: GlanceSource, image_id: str) -> bytes:
    with source.open_file(image(image_id)) as file:
        if isinstance(file, StreamedFile):
            content = b"".join(file.iter_bytes())
        else:
            content = file.read_at(0, file.size)
        file.check_unchanged(file.fingerprint.to_text())
        return content


def test_active_bare_images_are_listed_page_by_page(
    openstack: OpenStack,
    make_source: MakeSource,
    proxy: GlanceProxy,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And no others; filters of the URL choose among them."""
    monkeypatch.setattr(glance_api, "_PAGE_SIZE", 2)
    tag = uuid.uuid4().hex
    ready = [openstack.make_image(b"x", tags=[tag]) for _ in range(5)]
    openstack.make_image(b"x")
    openstack.make_image(None, tags=[tag])
    openstack.make_image(b"x", tags=[tag], container_format="ova")
    gone = openstack.make_image(b"x", tags=[tag])
    openstack.deactivate(gone)
    found = list(make_source(query=f"v2?tag={tag}").iter_compute_images())
    assert [each.id for each in found] == sorted(ready)
    assert sum("marker=" in each for each in proxy.requests) == 2
    assert found[0] == image(found[0].id)
    assert set(ready) < {each.id for each in make_source().iter_compute_images()}


def test_an_image_is_found_by_its_id(openstack: OpenStack, make_source: MakeSource) -> None:
    """If the filters let it through; what is no id of Glance is not asked for."""
    image_id = openstack.make_image(b"x", tags=["golden"])
    assert make_source().find_compute_image(image_id) == image(image_id)
    assert make_source().find_compute_image(NOT_THERE) is None
    assert make_source().find_compute_image("debian12") is None
    assert make_source(query="?tag=golden").find_compute_image(image_id) == image(image_id)
    assert make_source(query="?tag=other").find_compute_image(image_id) is None


def test_an_image_that_cannot_be_read_says_why(
    openstack: OpenStack, make_source: MakeSource
) -> None:
    """Not active, or in a container: found, and refused."""
    queued = openstack.make_image(None)
    in_container = openstack.make_image(b"x", container_format="ova")
    with pytest.raises(UnfitGlanceImageError, match="status 'queued'"):
        make_source().find_compute_image(queued)
    with pytest.raises(UnfitGlanceImageError, match="container format 'ova'"):
        make_source().find_compute_image(in_container)


@pytest.mark.parametrize("store", ["fast", "whole"])
def test_data_is_read_exactly(openstack: OpenStack, make_source: MakeSource, store: str) -> None:
    """By ranges, or whole where the store behind Glance gives none."""
    image_id = openstack.make_image(CONTENT, store=store)
    source = make_source()
    with source.open_file(image(image_id)) as file:
        assert isinstance(file, RemoteFile if store == "fast" else StreamedFile)
        assert file.name == image_id
        assert file.fingerprint.settled
    assert read(source, image_id) == CONTENT
    found = source.find_checksum(image(image_id))
    assert found is not None
    assert found.algorithm == "sha512"


def hang_up(handler: Handler, _number: int) -> bool:
    handler.close_connection = True
    handler.connection.close()
    return True


@pytest.mark.parametrize("store", ["fast", "whole"])
@pytest.mark.parametrize(
    "fault",
    [
        once(cut_data, at=2),
        once(hang_up, at=2, times=2),
        once(status(500), at=1),
        once(status(503, retry_after="0"), at=2, times=2),
        once(status(429, retry_after="0"), at=2),
    ],
    ids=["cut", "reset", "500", "503", "429"],
)
def test_what_passes_is_tried_again(
    make_source: MakeSource,
    proxy: GlanceProxy,
    store: str,
    fault: Fault,
    tmp_path: Path,
) -> None:
    """Goes on from where it was by ranges, and from the start without."""
    image_id = proxy.cloud.make_image(CONTENT, store=store)
    proxy.spoil_data(image_id, fault)
    with make_source().open_file(image(image_id)) as file, ExitStack() as stack:
        if isinstance(file, StreamedFile):
            spool = Spool(tmp_path / "spool", most_bytes=100 * MIB)
            spooled = spool_whole(file, spool, stack, check_alive=lambda: None)
            assert spooled.read_at(0, spooled.size) == CONTENT
        else:
            assert file.read_at(0, file.size) == CONTENT


def test_a_proxy_that_ignores_ranges_gives_the_whole(
    openstack: OpenStack, make_source: MakeSource, proxy: GlanceProxy
) -> None:
    image_id = openstack.make_image(CONTENT)
    proxy.spoil_data(image_id, spoil_range)
    assert read(make_source(), image_id) == CONTENT


def test_an_image_without_any_byte_is_read(openstack: OpenStack, make_source: MakeSource) -> None:
    """Glance takes such images, and answers no range of them."""
    assert read(make_source(), openstack.make_image(b"")) == b""


def test_data_that_glance_has_lost_is_no_data(
    openstack: OpenStack, make_source: MakeSource
) -> None:
    """It answers with nothing at all, and success."""
    image_id = openstack.make_image(CONTENT)
    openstack.data_file(image_id).unlink()
    with pytest.raises(SourceUnreadableError, match="has no data"):
        read(make_source(), image_id)


def test_an_application_credential_logs_in(
    openstack: OpenStack, make_source: MakeSource, proxy: GlanceProxy
) -> None:
    """Its token is used again, and another one is issued when that is refused."""
    login = openstack.make_login(uuid.uuid4().hex, has_rules=False)
    image_id = openstack.make_image(CONTENT)
    source = make_source(login=login)
    assert read(source, image_id) == CONTENT
    tokens = {each["x-auth-token"] for each in proxy.headers}
    assert len(tokens) == 1
    openstack.revoke(tokens.pop())
    proxy.headers.clear()
    assert read(source, image_id) == CONTENT
    assert len({each["x-auth-token"] for each in proxy.headers}) == 2


def test_a_token_that_ends_in_the_middle_is_renewed(
    openstack: OpenStack, make_source: MakeSource, proxy: GlanceProxy
) -> None:
    """By one of the requests that meet it, for all of them."""
    login = openstack.make_login(uuid.uuid4().hex, has_rules=False)
    image_id = openstack.make_image(CONTENT)

    def revoke(handler: Handler, _number: int) -> bool:
        openstack.revoke(handler.headers["x-auth-token"])
        return False

    proxy.spoil_data(image_id, once(revoke, at=2))
    assert read(make_source(login=login), image_id) == CONTENT
    assert len({each["x-auth-token"] for each in proxy.headers}) == 2


def test_a_login_that_is_refused_says_what_to_do(
    openstack: OpenStack, make_source: MakeSource, login: Login
) -> None:
    """Without the secret in it."""
    image_id = openstack.make_image(b"x")
    wrong = Login(id=login.id, secret="wrong-secret")  # noqa: S106
    with pytest.raises(SourceUnreadableError, match="refuses the application cred") as caught:
        make_source(login=wrong).find_compute_image(image_id)
    assert "OS_APPLICATION_CREDENTIAL_SECRET" in caught.value.remedy
    assert "wrong-secret" not in str(caught.value.failure)
    token = openstack.issue_token()
    source = make_source(token=token)
    assert source.find_compute_image(image_id) is not None
    openstack.revoke(token)
    with pytest.raises(SourceUnreadableError, match="refuses the token") as caught:
        source.find_compute_image(image_id)
    assert token not in str(caught.value.failure)
    with pytest.raises(SourceUnreadableError, match="wants a login"):
        make_source(token=None).find_compute_image(image_id)


def test_a_login_that_may_not_read_data_says_so(
    openstack: OpenStack, make_source: MakeSource
) -> None:
    """Glance lets readers see images, and only members download them."""
    image_id = openstack.make_image(CONTENT)
    source = make_source(login=openstack.make_login(uuid.uuid4().hex, role="reader"))
    assert source.find_compute_image(image_id) is not None
    with pytest.raises(SourceUnreadableError, match="HTTP 403") as caught:
        read(source, image_id)
    assert "role member" in caught.value.remedy


@pytest.mark.parametrize("event", ["deleted", "deactivated", "made anew"])
def test_an_image_that_changes_is_noticed(
    openstack: OpenStack, make_source: MakeSource, event: str
) -> None:
    """By its mark; by the data's MD5 also before that is looked at."""
    image_id = openstack.make_image(CONTENT)
    source = make_source()
    mark = source.fingerprint(image(image_id)).to_text()
    with source.open_file(image(image_id)) as file:
        assert isinstance(file, RemoteFile)
        happen(openstack, image_id, event)
        with pytest.raises(SourceChangedError, match=image_id):
            file.check_unchanged(mark)
        if event != "deactivated":
            with pytest.raises(SourceChangedError, match="changed"):
                file.read_at(0, file.size)


def happen(openstack: OpenStack, image_id: str, event: str) -> None:
    if event == "deleted":
        openstack.delete(image_id)
    elif event == "deactivated":
        openstack.deactivate(image_id)
    else:
        openstack.replace(image_id, CONTENT[::-1])


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    path = tmp_path / "disk.raw"
    data = {0: random_bytes(9 * MIB, seed=1), 30 * MIB: b"text " * (2 * MIB // 5)}
    write_raw(path, size=SIZE, data=data)
    return path


@pytest.fixture
def remote(
    make_server: Callable[..., ServerProcess],
    openstack: OpenStack,
    proxy: GlanceProxy,
    login: Login,
) -> ServerProcess:
    options = ("--source", f"cloud=glance+{proxy.url}", "--source-ca", str(openstack.tls.ca))
    variables = {
        "OS_TOKEN": "",
        "OS_AUTH_URL": openstack.keystone,
        "OS_APPLICATION_CREDENTIAL_ID": login.id,
        "OS_APPLICATION_CREDENTIAL_SECRET": login.secret,
    }
    server = make_server(options=options, variables=variables)
    server.start()
    return server


def copy(server: ServerProcess, image_id: str, name: str) -> Operation:
    client = OfficialClient(server.profile)
    return client.wait(client.copy(image_id, name).id)


def test_copies_are_byte_exact(
    remote: ServerProcess,
    proxy: GlanceProxy,
    login: Login,
    raw: Path,
    tmp_path: Path,
) -> None:
    """Raw and qcow2, by ranges and whole, through faults that pass; no secret is written down."""
    qcow2 = tmp_path / "disk.qcow2"
    convert(raw, qcow2, "-O", "qcow2", "-c", source_format="raw")
    compute_images = [
        proxy.cloud.make_image(path.read_bytes(), store=store, disk_format=disk_format)
        for store in ("fast", "whole")
        for path, disk_format in ((raw, "raw"), (qcow2, "qcow2"))
    ]
    proxy.spoil_data(compute_images[0], once(cut_data, at=4, times=3))
    proxy.spoil_data(compute_images[1], once(status(503), at=3, times=2))
    proxy.spoil_data(compute_images[2], once(cut_data, at=2))
    image_ids = []
    for compute_image in compute_images:
        operation = copy(remote, compute_image, f"of {compute_image}")
        assert operation.WhichOneof("result") == "response", operation
        made = DesktopImage()
        assert operation.response.Unpack(made)
        image_ids.append(made.id)
    again = OfficialClient(remote.profile).copy(compute_images[2], "again")
    assert again.done  # known by its hash
    assert remote.stop() == 0
    inspection = Inspection.of(remote.data_dir)
    for each in image_ids:
        inspection.check_image(each, raw)
    inspection.check_store()
    inspection.close()
    assert list((remote.data_dir / "spool").iterdir()) == []
    secrets = [login.secret, *{each["x-auth-token"] for each in proxy.headers}]
    kept = [remote.log, *(each for each in remote.data_dir.rglob("*") if each.is_file())]
    for path in kept:
        content = path.read_bytes()
        assert not [each for each in secrets if each.encode() in content], path


@pytest.mark.parametrize("store", ["fast", "whole"])
def test_data_that_lacks_the_images_hash_is_not_published(
    openstack: OpenStack, remote: ServerProcess, raw: Path, store: str
) -> None:
    """Whatever spoilt it behind Glance, which itself does not notice."""
    image_id = openstack.make_image(raw.read_bytes(), store=store)
    with openstack.data_file(image_id, store=store).open("r+b") as file:
        file.seek(5 * MIB)
        file.write(b"rotten")
    operation = copy(remote, image_id, "rotten")
    assert operation.error.code == Code.DATA_LOSS, operation
    assert "sha512" in operation.error.message
    check_nothing_is_left(remote)


@pytest.mark.parametrize(
    ("event", "store"),
    [("deleted", "fast"), ("deactivated", "fast"), ("made anew", "fast"), ("made anew", "whole")],
)
def test_a_copy_of_what_changes_is_aborted(
    remote: ServerProcess,
    proxy: GlanceProxy,
    raw: Path,
    event: str,
    store: str,
) -> None:
    """And leaves nothing."""
    image_id = proxy.cloud.make_image(raw.read_bytes(), store=store)

    def change(_handler: Handler, number: int) -> bool:
        if number == (6 if store == "fast" else 2):
            happen(proxy.cloud, image_id, event)
        return False

    proxy.spoil_data(image_id, change)
    operation = copy(remote, image_id, "changes")
    assert operation.error.code == Code.ABORTED, operation
    assert image_id in operation.error.message
    check_nothing_is_left(remote)


def check_nothing_is_left(server: ServerProcess) -> None:
    assert server.stop() == 0
    inspection = Inspection.of(server.data_dir)
    for table in (tables.images, tables.chunks, tables.packs, tables.copy_ranges):
        assert inspection.count(table) == 0
    assert list(inspection.chunks.iter_packs()) == []
    inspection.close()
