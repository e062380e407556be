"""Alembic's entry: the caller hands in the connection; there is no ini file and no offline mode."""

from alembic import context

from clouddesktop.catalog.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    transaction_per_migration=False,
)
with context.begin_transaction():
    context.run_migrations()
