"""The public Python API: talk to a clouddesktop server (everything else in the package may change).

    from clouddesktop.client import Profile, connect

    async with connect(Profile.load("clouddesktop-data/profile.yaml")) as connection:
        operation = await connection.copy_image(compute_image_id="debian12", name="Debian 12")
        operation = await connection.wait_operation(operation.id)
        print(await connection.get_image(image_id_of(operation)))

`connection.images` and `connection.operations` are the official stubs, ready to call;
`connection.channel` takes any other stub. `open_sdk` gives the official synchronous SDK, taught
where Cloud Desktop is.
"""

from __future__ import annotations

from clouddesktop.client.calls import CallError, OperationFailedError
from clouddesktop.client.connection import Connection, connect
from clouddesktop.client.diff import ImageDiff, diff_images
from clouddesktop.client.export import Export, export_image
from clouddesktop.client.identity import TokenSource
from clouddesktop.client.operations import OperationView, WaitTimeoutError, image_id_of
from clouddesktop.client.outputs import ExportError, OutputFormat
from clouddesktop.client.profile import Profile, ProfileError
from clouddesktop.client.records import to_record
from clouddesktop.client.sdk import open_sdk
from clouddesktop.client.uploads import delete_upload, upload_file
from clouddesktop.errors import CloudDesktopError, Code
from clouddesktop.model.diff import Change, ChangeKind, DiffTotals
from clouddesktop.model.operation import Phase, Progress

__all__ = [
    "CallError",
    "Change",
    "ChangeKind",
    "CloudDesktopError",
    "Code",
    "Connection",
    "DiffTotals",
    "Export",
    "ExportError",
    "ImageDiff",
    "OperationFailedError",
    "OperationView",
    "OutputFormat",
    "Phase",
    "Profile",
    "ProfileError",
    "Progress",
    "TokenSource",
    "WaitTimeoutError",
    "connect",
    "delete_upload",
    "diff_images",
    "export_image",
    "image_id_of",
    "open_sdk",
    "to_record",
    "upload_file",
]
