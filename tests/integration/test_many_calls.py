"""As many calls at a time as the server takes."""

from __future__ import annotations

from pathlib import Path

from yandex.cloud.clouddesktop.v1.desktop_image_service_pb2 import CopyDesktopImageRequest

from parts.disks import random_bytes
from parts.official import OfficialClient
from parts.server import ServerProcess

CALLS = 1000
DEADLINE_SECONDS = 60


def test_a_thousand_copies_at_a_time_are_all_done(server: ServerProcess, sources_dir: Path) -> None:
    """None meets its deadline or a locked database, beside a copy of new content."""
    (sources_dir / "known.raw").write_bytes(random_bytes(1 << 20, seed=1))
    (sources_dir / "new.raw").write_bytes(random_bytes(32 << 20, seed=2))
    client = OfficialClient(server.profile)
    assert client.wait(client.copy("known", "first").id).HasField("response")
    new = client.copy("new", "new")
    calls = [
        client.images.Copy.future(
            CopyDesktopImageRequest(
                folder_id=client.folder_id, image_id="known", name=f"copy-{number}"
            ),
            timeout=DEADLINE_SECONDS,
        )
        for number in range(CALLS)
    ]
    operations = [each.result() for each in calls]
    assert all(each.HasField("response") for each in operations)
    assert len({each.id for each in operations}) == CALLS
    assert client.wait(new.id).HasField("response")
    assert "database is locked" not in server.log.read_text()
