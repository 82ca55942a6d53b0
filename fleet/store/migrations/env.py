"""Alembic's entry: runs on the connection that ``fleet.store.migrate`` hands over."""

from alembic import context
from sqlmodel import SQLModel

from fleet.store import tables  # noqa: F401 - importing it fills SQLModel.metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=SQLModel.metadata,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
