"""What is done when a server begins, before its first request."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from flask import current_app
from sqlalchemy import select

from demos.portal.demo_data import add_demo_data
from demos.portal.extensions import bridge, db, migrate
from demos.portal.models import Member


def prepare() -> None:
    """In development: bring the database up to date, and fill it if nobody is in it."""
    if not current_app.config["MIGRATE_AT_START"]:
        return
    with _alone(current_app.config["DATA"] / "start.lock"):
        command.upgrade(migrate.get_config(), "head")
        if current_app.config["DEMO_ACCOUNTS"] and db.session.scalar(select(Member.id).limit(1)) is None:
            add_demo_data()


def let_go() -> None:
    """Close the connections to the database."""
    db.engine.dispose()


def can_serve() -> None:
    """For the server's readiness: raises if the database does not answer, or was never migrated."""
    with bridge.state.app.app_context():  # the server asks outside of any request
        db.session.scalar(select(Member.id).limit(1))


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Of several workers that begin at once, one after the other."""
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
