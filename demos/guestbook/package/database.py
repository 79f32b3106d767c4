"""The database: a connection for each request, and the entries in it."""

import sqlite3
from contextlib import closing

from flask import Flask, current_app, g


def init_app(app: Flask) -> None:
    """Make the table, unless it is there, and close each request's connection."""
    with closing(sqlite3.connect(app.config["DATABASE"])) as new:
        new.execute(
            "CREATE TABLE IF NOT EXISTS entries"
            " (id INTEGER PRIMARY KEY, name TEXT NOT NULL, text TEXT NOT NULL)"
        )
    app.teardown_appcontext(_close)


def newest() -> list[sqlite3.Row]:
    return _database().execute("SELECT name, text FROM entries ORDER BY id DESC LIMIT 100").fetchall()


def add(name: str, text: str) -> None:
    with _database() as transaction:  # all of it is kept, or nothing
        transaction.execute("INSERT INTO entries (name, text) VALUES (?, ?)", (name, text))


def _database() -> sqlite3.Connection:
    """Return this request's connection; the first call opens it."""
    if "database" not in g:
        g.database = sqlite3.connect(current_app.config["DATABASE"])
        g.database.row_factory = sqlite3.Row  # the template asks for entry.name
    connection: sqlite3.Connection = g.database
    return connection


def _close(error: BaseException | None) -> None:
    if "database" in g:
        g.database.close()
