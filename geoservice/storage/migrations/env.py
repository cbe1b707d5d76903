"""Alembic's entry point; :mod:`geoservice.storage.migrate` hands it the connection."""

from alembic import context

context.configure(connection=context.config.attributes["connection"], transaction_per_migration=True)
with context.begin_transaction():
    context.run_migrations()
