"""Facts about the installation as a whole."""

from __future__ import annotations

import sqlalchemy as sa

from clouddesktop.catalog.tables import installation

STORE_ID = "store_id"
"""The id of the store whose chunks the index knows."""

PAGE_KEY = "page_key"
"""The key of page tokens' checksums, as hexadecimal digits."""

DEFAULT_FOLDER = "default_folder"
"""The id of the folder that the first start has made, whatever it is called by now."""

TOKEN_SEED = "token_seed"  # noqa: S105  (the name of the secret)
"""The secret that signs IAM tokens where servers share the database, as hexadecimal digits."""


def set_fact(connection: sa.Connection, name: str, value: str) -> None:
    """Let a fact have this value."""
    connection.execute(sa.delete(installation).where(installation.c.name == name))
    connection.execute(sa.insert(installation).values(name=name, value=value))


def settle_fact(connection: sa.Connection, name: str, value: str) -> str:
    """Give a fact's value; `value` becomes it when it had none."""
    known: str | None = connection.scalar(
        sa.select(installation.c.value).where(installation.c.name == name)
    )
    if known is None:
        connection.execute(sa.insert(installation).values(name=name, value=value))
        return value
    return known
