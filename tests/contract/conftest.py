"""Every contract test runs on an installation of one machine, and on one that can be shared."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from parts.postgres import Postgres
from parts.seaweedfs import BUCKET, SeaweedFS
from parts.server import ServerProcess


@pytest.fixture(params=["embedded", "shared"])
def make_server(
    request: pytest.FixtureRequest, make_server: Callable[..., ServerProcess]
) -> Callable[..., ServerProcess]:
    """Make servers on folders of their own, or on PostgreSQL and S3 with a worker apart."""
    if request.param == "embedded":
        return make_server
    postgres: Postgres = request.getfixturevalue("postgres")
    s3: SeaweedFS = request.getfixturevalue("seaweedfs")

    def make(**options: Any) -> ServerProcess:
        given = options.pop("options", ())
        if "--database" not in given:
            store = f"s3://{BUCKET}/{s3.new_prefix()}"
            given = ("--database", postgres.make_database(), "--store", store, *given)
        variables = s3.variables | options.pop("variables", {})
        return make_server(options=given, variables=variables, **options)

    return make
