"""The database: its connections, a session for each request, and its migrations."""

import os
import sqlite3
import tempfile
import threading
import time
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from flask import g
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.orm import Session
from sqlalchemy.pool import ConnectionPoolEntry

ALEMBIC = Path(__file__).parent / "alembic.ini"


class NotMigrated(RuntimeError):
    """The tables are not those that this code is written for."""


class Database:
    """The one database of this process. It is opened when it is first used, or when the server starts."""

    def __init__(self) -> None:
        self._engine: Engine | None = None
        self._lock = threading.Lock()

    def open(self) -> Engine:
        """Connect, and see to it that the tables are right."""
        with self._lock:
            if self._engine is None:
                engine = make_engine(url_from_environment())
                try:
                    prepare(engine)
                except BaseException:
                    engine.dispose()
                    raise
                self._engine = engine
            return self._engine

    def close(self) -> None:
        """Close all connections."""
        with self._lock:
            if self._engine is not None:
                self._engine.dispose()
                self._engine = None

    def session(self) -> Session:
        """The session of this request. What is not committed when the request ends, never was."""
        if "session" not in g:
            # What was written is not read again: nobody sees it but the one answer.
            g.session = Session(self.open(), expire_on_commit=False)
        session: Session = g.session
        return session

    def end_session(self, error: BaseException | None) -> None:
        session = g.pop("session", None)
        if session is not None:
            session.close()


database = Database()


def url_from_environment() -> URL:
    """Where the data are: as API_DATABASE_URL says, or in the folder for temporary files."""
    given = os.environ.get("API_DATABASE_URL")
    if not given:
        folder = Path(tempfile.gettempdir(), "bridge-api")
        folder.mkdir(mode=0o700, exist_ok=True)
        return URL.create("sqlite", database=str(folder / "birds.sqlite"))
    return parse_url(given)


def parse_url(given: str) -> URL:
    """A PostgreSQL may be named as its hosts name it, without the driver that Python needs."""
    try:
        url = make_url(given)
    except ArgumentError:  # without what was given: there may be a password in it
        raise ValueError("API_DATABASE_URL is to be sqlite:///… or postgresql://…; it is neither") from None
    return url.set(drivername="postgresql+psycopg") if url.drivername in ("postgres", "postgresql") else url


def make_engine(url: URL) -> Engine:
    # Ten connections for forty threads: each is held for milliseconds, and never while a password is hashed.
    # With four workers that is less than half of what PostgreSQL allows. Lost ones are noticed, and replaced.
    engine = create_engine(
        url,
        pool_size=10,
        max_overflow=0,
        pool_timeout=10,  # seconds
        pool_pre_ping=True,
        hide_parameters=True,  # hashes of passwords are not for the log
    )
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _set_up_sqlite)
    return engine


def _set_up_sqlite(connection: sqlite3.Connection, entry: ConnectionPoolEntry) -> None:
    connection.execute("PRAGMA busy_timeout = 10000")  # ms to wait for another writer
    _use_write_ahead_log(connection)
    connection.execute("PRAGMA foreign_keys = ON")


def _use_write_ahead_log(connection: sqlite3.Connection) -> None:
    """Have readers not wait for the writer. The file keeps that; several processes may find it new."""
    deadline = time.monotonic() + 10
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError:  # busy_timeout does not count while another process changes the mode
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return


def prepare(engine: Engine) -> None:
    """Migrate the embedded database; of any other, only make sure that somebody has."""
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            upgrade(connection)
        else:
            _check_revision(connection)


def upgrade(connection: Connection, revision: str = "head") -> None:
    command.upgrade(_config(connection), revision)


def downgrade(connection: Connection, revision: str) -> None:
    command.downgrade(_config(connection), revision)


def _config(connection: Connection) -> Config:
    config = Config(ALEMBIC)
    config.attributes["connection"] = connection
    return config


def _check_revision(connection: Connection) -> None:
    is_at = MigrationContext.configure(connection).get_current_revision()
    wanted = ScriptDirectory.from_config(Config(ALEMBIC)).get_current_head()
    if is_at != wanted:
        raise NotMigrated(
            f"the database is at revision {is_at}, this code needs {wanted}: "
            "run `alembic -c demos/api/alembic.ini upgrade head`"
        )
