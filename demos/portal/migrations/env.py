"""What Alembic runs: migrations over the app's own engine, as the app's settings have it.

It is Flask-Migrate's without what sets up logging, which would silence the app's.
"""

from alembic import context
from flask import current_app

extension = current_app.extensions["migrate"]

with extension.db.engine.connect() as connection:
    context.configure(
        connection=connection, target_metadata=extension.db.metadatas[None], **extension.configure_args
    )
    with context.begin_transaction():
        context.run_migrations()
