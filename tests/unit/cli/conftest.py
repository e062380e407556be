"""The scripted API as fixtures."""

from unit.client.fixtures import api, api_folder, api_tls, profile_file

__all__ = ["api", "api_folder", "api_tls", "profile_file"]
