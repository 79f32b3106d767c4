"""Configuration, migrations and commands."""

from pathlib import Path

import pytest
from alembic import command
from flask import Flask
from sqlalchemy import func, select

from bridge.testing import Client
from demos.portal import create_app
from demos.portal.config import ConfigurationError, load
from demos.portal.extensions import db, migrate
from demos.portal.models import Member, Role
from demos.portal.tests.conftest import Visitor

SECRET = "0123456789abcdef" * 2


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("PORTAL_ENV", "SECRET_KEY", "DATABASE_URL", "PORTAL_HOSTS", "LOG_LEVEL", "JOB_WORKERS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PORTAL_DATA", str(tmp_path / "data"))


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"DATABASE_URL": "sqlite://"}, "production needs the variable SECRET_KEY"),
        ({"DATABASE_URL": "sqlite://", "SECRET_KEY": "short"}, "SECRET_KEY has 5 characters"),
        ({"SECRET_KEY": SECRET}, "production needs the variable DATABASE_URL"),
        ({"PORTAL_ENV": "prod"}, "PORTAL_ENV is 'prod'; it must be development or production"),
        ({"LOG_LEVEL": "loud"}, "LOG_LEVEL is 'LOUD'"),
        ({"JOB_WORKERS": "-1"}, "JOB_WORKERS is '-1'; a whole number is expected"),
    ],
)
def test_a_wrong_environment_is_refused(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], said: str
) -> None:
    for name, value in ({"PORTAL_ENV": "production"} | variables).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match=said):
        create_app()


def test_production(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "SECRET_KEY": SECRET,
        "DATABASE_URL": "sqlite://",
        "PORTAL_HOSTS": "a.b, c.d",
    }.items():
        monkeypatch.setenv(name, value)
    settings = load("production", {})
    assert settings["SESSION_COOKIE_SECURE"]
    assert settings["TRUSTED_HOSTS"] == ["a.b", "c.d"]
    assert not settings["DEMO_ACCOUNTS"]
    assert not settings["MIGRATE_AT_START"]


def test_the_secret_of_development_is_kept(tmp_path: Path) -> None:
    first, second = load("development", {}), load("development", {})
    assert first["SECRET_KEY"] == second["SECRET_KEY"]
    assert (tmp_path / "data" / "secret-key").stat().st_mode & 0o777 == 0o600


async def test_development_begins_with_a_club() -> None:
    app = create_app("development", {"LOGGING": None, "JOB_WORKERS": 0})
    for _ in range(2):  # a second start finds it there
        async with Client(app) as client:
            assert "ada@millreach.example" in (await client.get("/")).text
    with app.app_context():
        assert db.session.scalar(select(func.count(Member.id))) == 8
        db.session.remove()  # it gives its connection back, which is closed then
        db.engine.dispose()


def test_the_models_and_the_migrations_agree(app: Flask) -> None:
    with app.app_context():
        command.check(migrate.get_config())  # raises where they differ
        db.session.remove()
        command.downgrade(migrate.get_config(), "base")


def test_an_admin_is_made_by_a_command(app: Flask) -> None:
    arguments = ["create-admin", "Nell@Club.example", "--name", "Nell", "--password"]
    runner = app.test_cli_runner()
    assert runner.invoke(args=[*arguments, "short"]).exit_code == 2
    assert runner.invoke(args=[*arguments, "a long enough one"]).output == "nell@club.example is an admin.\n"
    visitor = Visitor(app)
    assert visitor.log_in("nell", "a long enough one").status_code == 302
    with app.app_context():
        assert db.session.scalars(select(Member).where(Member.name == "Nell")).one().role == Role.ADMIN


def test_a_database_that_is_away_is_a_503(tmp_path: Path) -> None:
    app = create_app("testing", {"SQLALCHEMY_DATABASE_URI": f"sqlite:///{tmp_path}/no/such/folder"})
    answer = app.test_client().post("/account/login")
    assert answer.status_code == 400  # by its form; no need of the database
    with app.test_client() as client:
        with client.session_transaction() as session:
            session["_user_id"] = "somebody"
        answer = client.get("/bookings/")
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "10")
    assert "Back in a moment" in answer.text
