"""What Alembic runs to reach the database: when the server starts, or by its own command."""

from alembic import context
from sqlalchemy import Connection

from demos.api.database import make_engine, url_from_environment
from demos.api.models import Base


def main() -> None:
    given: Connection | None = context.config.attributes.get("connection")
    if given is not None:
        migrate(given)
        return
    engine = make_engine(url_from_environment())
    with engine.connect() as connection:
        migrate(connection)
    engine.dispose()


def migrate(connection: Connection) -> None:
    """All of it in one transaction, one process at a time: those that come second find nothing left to do."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    else:
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock(hashtext('demos.api.migrations'))")
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        transactional_ddl=True,  # SQLite's is, too, once a transaction has begun
        render_as_batch=True,  # SQLite changes a table by making a new one
    )
    context.run_migrations()
    connection.commit()


main()
