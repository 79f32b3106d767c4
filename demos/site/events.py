"""The events, in SQLite."""

import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

# The library's own: what its visitors type and read.
TIMEZONE = ZoneInfo("Europe/Berlin")

# Anybody may announce events, so there is an end to what is kept: the newest.
KEPT = 500

_SCHEMA = """
    CREATE TABLE IF NOT EXISTS events (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        title TEXT NOT NULL, place TEXT NOT NULL, starts TEXT NOT NULL, text TEXT NOT NULL
    );
    CREATE INDEX IF NOT EXISTS events_by_time ON events (starts);
    CREATE TABLE IF NOT EXISTS secret (id INTEGER PRIMARY KEY CHECK (id = 1), key TEXT NOT NULL);
"""


@dataclass(frozen=True)
class Event:
    """Something that is on. `number` is 0 until it is kept."""

    title: str
    place: str
    starts: datetime
    text: str
    number: int = 0


class Events:
    """All events. Each call has a connection of its own, so that any thread may make it.

    Args:
        folder: where the database is, or is to be.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def prepare(self) -> None:
        """Make the database, with a few events in it, unless there is one."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # for its owner alone: it has the secret
        with closing(self._connect()) as database:
            database.executescript(_SCHEMA)
        with self._transaction() as database:  # one of the workers is the first
            if not database.execute("SELECT 1 FROM secret").fetchone():
                database.execute("INSERT INTO secret (id, key) VALUES (1, ?)", (secrets.token_hex(),))
                for event in _first_events():
                    _insert(database, event)

    def secret_key(self) -> str:
        """A key that is the same in every process that has this database."""
        with self._transaction() as database:
            (key,) = database.execute("SELECT key FROM secret").fetchone()
        return str(key)

    def upcoming(self, limit: int, offset: int = 0) -> list[Event]:
        """What is on, from now on, the next first."""
        return self._select(
            "WHERE starts >= ? ORDER BY starts, number LIMIT ? OFFSET ?", _now(), limit, offset
        )

    def past(self, limit: int) -> list[Event]:
        """What was on, the last first."""
        return self._select("WHERE starts < ? ORDER BY starts DESC, number LIMIT ?", _now(), limit)

    def find(self, number: int) -> Event | None:
        """The event of this number."""
        return next(iter(self._select("WHERE number = ?", number)), None)

    def add(self, event: Event) -> int:
        """Keep an event; return its number."""
        with self._transaction() as database:
            number = _insert(database, event)
            database.execute("DELETE FROM events WHERE number <= ?", (number - KEPT,))
        return number

    def _select(self, clauses: str, *values: str | int) -> list[Event]:
        with closing(self._connect()) as database:
            rows = database.execute(
                f"SELECT title, place, starts, text, number FROM events {clauses}", values
            ).fetchall()
        return [
            Event(title, place, datetime.fromisoformat(starts), text, number)
            for title, place, starts, text, number in rows
        ]

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self._folder / "events.sqlite")

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with closing(self._connect()) as database, database:
            database.execute("BEGIN IMMEDIATE")
            yield database


def _insert(database: sqlite3.Connection, event: Event) -> int:
    number = database.execute(
        "INSERT INTO events (title, place, starts, text) VALUES (?, ?, ?, ?)",
        (event.title, event.place, _sortable(event.starts), event.text),
    ).lastrowid
    assert number is not None  # it is after an INSERT
    return number


def _now() -> str:
    return _sortable(datetime.now(UTC))


def _sortable(moment: datetime) -> str:
    """As text of which the earlier is the lesser."""
    return moment.astimezone(UTC).isoformat(timespec="seconds")


def _first_events() -> list[Event]:
    evening = datetime.now(TIMEZONE).replace(hour=18, minute=30, second=0, microsecond=0)
    return [
        Event(
            "Story time: The Moomins",
            "Children's corner",
            evening - timedelta(days=2, hours=3),
            "Tove Jansson's stories, read aloud. For listeners of four and older.",
        ),
        Event(
            "Repair café",
            "Workshop in the yard",
            evening + timedelta(days=1),
            "Bring what is broken: lamps, bicycles, trousers. We mend it together.\n\nThere is cake.",
        ),
        Event(
            "Seed swap",
            "Reading garden",
            evening + timedelta(days=4, hours=-8),
            "Take seeds home, leave some of yours. Beans and tomatoes are most welcome.",
        ),
        Event(
            "Reading: Poems from three valleys",
            "Reading room",
            evening + timedelta(days=12, hours=1),
            "Three poets from around here read from what they wrote this year.",
        ),
    ]
