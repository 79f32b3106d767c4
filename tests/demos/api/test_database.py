"""The database: its migrations, and what becomes of requests when it is not as it should be."""

import multiprocessing
import sqlite3
from collections.abc import Callable, Iterator
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, Engine, inspect, text

from demos.api.database import downgrade, make_engine, parse_url, upgrade
from demos.api.models import Base
from tests.demos.api.conftest import ROOT, alembic, serve
from tests.demos.api.phone import Phone
from tests.demos.api.postgresql import PostgreSQL
from tests.server.command import run

pytestmark = pytest.mark.timeout(60)  # the first has to wait for PostgreSQL


@pytest.fixture
def engine(new_database: Callable[[str], str], request: pytest.FixtureRequest) -> Iterator[Engine]:
    engine = make_engine(parse_url(new_database(request.node.originalname)))
    yield engine
    engine.dispose()


def differences(connection: Connection) -> list[object]:
    found: list[object] = compare_metadata(MigrationContext.configure(connection), Base.metadata)
    connection.rollback()
    return found


def test_the_migrations_make_the_tables_of_the_models(engine: Engine) -> None:
    with engine.connect() as connection:
        assert differences(connection) != []
        upgrade(connection)
        assert differences(connection) == []


def test_there_is_a_way_back_and_what_is_kept_stays(engine: Engine) -> None:
    with engine.connect() as connection:
        upgrade(connection, "1")
        connection.execute(text("INSERT INTO users (name, password_hash) VALUES ('ada', '')"))
        connection.execute(
            text(
                "INSERT INTO sightings (id, version, user_number, species, seen_on, count, notes) "
                "VALUES ('6f1e8a3e4a3b4b0e9a510d5c2f6a0001', 1, 1, 'Wren', '2026-04-01', 1, '')"
            )
        )
        connection.commit()
        for go_to in (upgrade, lambda connection: downgrade(connection, "1"), upgrade):
            go_to(connection)
            assert connection.scalar(text("SELECT species FROM sightings")) == "Wren"
            connection.rollback()
        assert differences(connection) == []
        downgrade(connection, "base")
        assert inspect(connection).get_table_names() == ["alembic_version"]


def migrate(url: str, start: Barrier) -> None:
    engine = make_engine(parse_url(url))
    start.wait(30)
    with engine.connect() as connection:
        upgrade(connection)
    engine.dispose()


def test_processes_that_migrate_at_once_do_not_disturb_each_other(new_database: Callable[[str], str]) -> None:
    spawn = multiprocessing.get_context("spawn")
    start = spawn.Barrier(3)
    url = new_database("at_once")
    processes = [spawn.Process(target=migrate, args=(url, start)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]


def test_the_server_says_what_to_do_when_nobody_has_migrated(postgresql: PostgreSQL) -> None:
    database = postgresql.create_database("not_migrated")
    code, _, stderr = run(
        "serve", "demos.api:app", "--port", "0", cwd=ROOT, env={"API_DATABASE_URL": database}
    )
    assert code != 0
    assert "the database is at revision None, this code needs 2: run `alembic -c demos/api" in stderr


def test_the_server_says_which_variable_is_wrong() -> None:
    code, _, stderr = run(
        "serve", "demos.api:app", "--port", "0", cwd=ROOT, env={"API_DATABASE_URL": "me:secret@localhost"}
    )
    assert code != 0
    assert "API_DATABASE_URL is to be sqlite:///… or postgresql://…" in stderr
    assert "secret" not in stderr


def test_workers_share_an_embedded_database(tmp_path: Path) -> None:
    path = tmp_path / "birds.sqlite"
    with serve(f"sqlite:///{path}", "--workers", "3") as serving, Phone(serving.address) as phone:
        serving.wait_for("Application startup complete", times=3)
        phone.sign_up()
        phone.log_in()
        assert phone.keep().status_code == 201
        assert "Traceback" not in serving.stderr
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [("2",)]
    connection.close()


def test_a_fault_of_ours_is_a_500_and_tells_nothing(tmp_path: Path) -> None:
    path = tmp_path / "birds.sqlite"
    with serve(f"sqlite:///{path}") as serving, Phone(serving.address) as phone:
        phone.sign_up()
        phone.log_in()
        kept = f"/sightings/{phone.keep().json()['id']}"
        connection = sqlite3.connect(path)
        with connection:
            connection.execute("UPDATE sightings SET seen_on = 'the day of the secret'")
        connection.close()
        failed = phone.call("GET", kept)
        serving.wait_for("the day of the secret")  # the log has it
    assert failed.status_code == 500
    assert "secret" not in failed.text


def test_a_database_that_goes_away_and_comes_back(postgresql: PostgreSQL) -> None:
    database = postgresql.create_database("restarted")
    alembic(database, "upgrade", "head")
    with serve(database) as serving, Phone(serving.address) as phone:
        phone.sign_up()
        phone.log_in()
        kept = f"/sightings/{phone.keep().json()['id']}"
        postgresql.stop()
        try:
            down = phone.call("GET", kept)
        finally:
            postgresql.start()
        assert (down.status_code, down.headers["Retry-After"]) == (503, "5")
        assert phone.call("GET", kept).status_code == 200
