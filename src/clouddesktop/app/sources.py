"""Where compute images come from: the configured sources, URLs that callers name, and uploads."""

from __future__ import annotations

from pathlib import Path

from clouddesktop.app.aws import find_s3_access
from clouddesktop.app.openstack import find_openstack_access
from clouddesktop.config import Settings
from clouddesktop.model.folder import Folder
from clouddesktop.source.catalogue import SourceCatalogue, parse_source
from clouddesktop.source.uploads import Uploads, UploadSource
from clouddesktop.source.uri import ImportPolicy, UriSource


def make_sources(settings: Settings, folder: Folder, *, uploads: Path) -> SourceCatalogue:
    """Make every source; what lies in the configured ones belongs to `folder`.

    Raises:
        CloudDesktopError: a setting is not understood; names it.
    """
    openstack = find_openstack_access(settings)
    s3 = find_s3_access(settings)
    policy = ImportPolicy(
        allowed=settings.import_allow,
        most_bytes=settings.import_size,
        most_seconds=settings.import_time,
    )
    uris = UriSource(
        ca_file=None if settings.source_ca is None else str(settings.source_ca),
        stall_seconds=settings.source_stall,
        policy=policy,
    )
    return SourceCatalogue(
        [
            uris,
            UploadSource(settings.uploads or uploads),
            *(
                parse_source(
                    name=name,
                    url=url,
                    folder_id=folder.id,
                    ca_file=settings.source_ca,
                    stall_seconds=settings.source_stall,
                    openstack=openstack,
                    s3=s3,
                )
                for name, url in settings.source.items()
            ),
        ]
    )


def make_uploads(settings: Settings, folder: Path) -> Uploads:
    return Uploads(
        settings.uploads or folder,
        most_bytes=settings.upload_size,
        expire_seconds=settings.upload_expire,
    )
