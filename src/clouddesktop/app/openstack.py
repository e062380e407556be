"""The operator's login for OpenStack, out of its standard variables."""

from __future__ import annotations

from urllib.parse import urlsplit

from clouddesktop.config import Settings, load_openstack_settings
from clouddesktop.source.keystone import ApplicationCredential, OpenStackAccess


def find_openstack_access(settings: Settings) -> OpenStackAccess | None:
    """Read the login if a source wants one; a shell's other variables are none of our business.

    Raises:
        InvalidArgumentError: the variables are no whole login.
    """
    if not any(urlsplit(url).scheme.startswith("glance+") for url in settings.source.values()):
        return None
    found = load_openstack_settings()
    if found.application_credential_secret is None:
        token = None if found.token is None else found.token.get_secret_value()
        return OpenStackAccess(token=token)
    return OpenStackAccess(
        application_credential=ApplicationCredential(
            auth_url=found.auth_url or "",
            id=found.application_credential_id or "",
            secret=found.application_credential_secret.get_secret_value(),
        )
    )
