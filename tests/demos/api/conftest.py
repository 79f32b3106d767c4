"""The API on each of its databases: one server for each, for all tests."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.demos.api.phone import Phone
from tests.demos.api.postgresql import MISSING, PostgreSQL
from tests.server.command import Serving

ROOT = Path(__file__).parent.parent.parent.parent


@pytest.fixture(scope="package")
def postgresql() -> Iterator[PostgreSQL]:
    if MISSING:
        pytest.skip(MISSING)
    with PostgreSQL() as postgresql:
        yield postgresql


@pytest.fixture(scope="package", params=["sqlite", "postgresql"])
def new_database(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], str]:
    """Makes an empty database of this name; returns its address."""
    if request.param == "sqlite":
        folder = tmp_path_factory.mktemp("sqlite")
        return lambda name: f"sqlite:///{folder / name}.sqlite"
    postgresql: PostgreSQL = request.getfixturevalue("postgresql")
    return postgresql.create_database


@pytest.fixture(scope="package")
def address(new_database: Callable[[str], str]) -> Iterator[str]:
    """Where the API is served."""
    database = new_database("birds")
    if database.startswith("postgresql"):
        alembic(database, "upgrade", "head")
    with serve(database) as serving:
        yield serving.address


@pytest.fixture(scope="package")
def token(address: str) -> str:
    """The token of a user of whom nothing is asked but to be logged in."""
    with Phone(address) as phone:
        phone.sign_up()
        return phone.log_in()


@pytest.fixture
def anyone(address: str, token: str) -> Iterator[Phone]:
    """A phone that is logged in. It is quicker to have than one of someone new."""
    with Phone(address, token) as phone:
        yield phone


@pytest.fixture
def phone(address: str) -> Iterator[Phone]:
    """A phone of someone new, who is logged in."""
    with Phone(address) as phone:
        phone.sign_up()
        phone.log_in()
        yield phone


def serve(database: str, *options: str) -> Serving:
    typed = ("demos.api:app", "--port", "0", "--no-access-log", *options)
    return Serving(*typed, cwd=ROOT, env={"API_DATABASE_URL": database})


def alembic(database: str, *typed: str) -> None:
    """Run Alembic's own command, as the demo says."""
    subprocess.run(
        [sys.executable, "-m", "alembic.config", "-c", "demos/api/alembic.ini", *typed],
        cwd=ROOT,
        env={"API_DATABASE_URL": database},
        check=True,
        capture_output=True,
        timeout=60,
    )
