"""PostgreSQL: instants without a zone and texts in the order of their characters' numbers.

As SQLite has both by itself: a session's time zone and a database's language change nothing then.
"""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    connection = op.get_bind()
    if connection.dialect.name != "postgresql":
        return
    inspector = sa.inspect(connection)
    for table in inspector.get_table_names():
        changes = []
        for column in inspector.get_columns(table):
            name, kind = column["name"], column["type"]
            if isinstance(kind, sa.String):
                changes.append(
                    f'ALTER "{name}" TYPE {kind.compile(connection.dialect)} COLLATE "C"'
                )
            elif isinstance(kind, sa.DateTime) and kind.timezone:
                changes.append(f'ALTER "{name}" TYPE timestamp USING "{name}" AT TIME ZONE \'UTC\'')
        if changes and table != "alembic_version":
            op.execute(f'ALTER TABLE "{table}" {", ".join(changes)}')
