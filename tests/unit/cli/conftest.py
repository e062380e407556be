"""The scripted API and the command as fixtures."""

from unit.cli.running import run
from unit.client.fixtures import api, api_folder, api_tls, profile_file

__all__ = ["api", "api_folder", "api_tls", "profile_file", "run"]
