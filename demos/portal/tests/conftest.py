"""An app of its own for each test, with people, boats, and a database that was migrated once."""

import re
import shutil
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from flask import Flask
from werkzeug.security import generate_password_hash
from werkzeug.test import TestResponse

from demos.portal import create_app
from demos.portal.extensions import db, migrate
from demos.portal.models import Boat, Booking, BookingStatus, Member, Role, TimeOfDay

PASSWORD = "pull-harder-please"
PASSWORD_HASH = generate_password_hash(PASSWORD, "pbkdf2:sha256:1")  # a quick one, as it is no secret
TOMORROW = date.today() + timedelta(days=1)


class Visitor:
    """A browser: it keeps cookies, and sends forms with the token of the page."""

    def __init__(self, app: Flask) -> None:
        self.client = app.test_client()

    def get(self, path: str) -> TestResponse:
        return self.client.get(path)

    def post(self, path: str, **form: Any) -> TestResponse:
        return self.client.post(path, data=form | {"csrf_token": self.token()})

    def token(self) -> str:
        found = re.search('name="csrf_token" value="([^"]+)"', self.get("/account/login").text)
        assert found is not None
        return found[1]

    def log_in(self, name: str, password: str = PASSWORD, next: str = "") -> TestResponse:
        return self.post(f"/account/login{next}", email=f"{name}@club.example", password=password)


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("portal") / "migrated.sqlite"
    app = _app(path)
    with app.app_context():
        command.upgrade(migrate.get_config(), "head")
        for role, name in ((Role.MEMBER, "mia"), (Role.MEMBER, "max"), (Role.STEWARD, "sam")):
            db.session.add(_member(name, role))
        db.session.add_all([_member("ada", Role.ADMIN), Boat(name="Heron", seats=2)])
        db.session.commit()
        db.engine.dispose()
    return path


@pytest.fixture
def app(migrated: Path, tmp_path: Path) -> Iterator[Flask]:
    app = _app(Path(shutil.copy(migrated, tmp_path / "portal.sqlite")))
    yield app
    with app.app_context():
        db.engine.dispose()


@pytest.fixture
def visit(app: Flask) -> Callable[[str], Visitor]:
    """Call it with a name for somebody who is logged in, with "" for nobody."""

    def visit(name: str) -> Visitor:
        visitor = Visitor(app)
        if name:
            assert visitor.log_in(name).status_code == 302
        return visitor

    return visit


@pytest.fixture
def booking(app: Flask) -> int:
    """A request of Mia's."""
    return add_booking(app, "mia")


def add_booking(app: Flask, name: str, **values: Any) -> int:
    """Add a booking for tomorrow morning; its id."""
    with app.app_context():
        member = db.session.query(Member).filter_by(email=f"{name}@club.example").one()
        given = {"day": TOMORROW, "time_of_day": TimeOfDay.MORNING} | values
        booking = Booking(member=member, boat_id=1, **given)
        db.session.add(booking)
        db.session.commit()
        return booking.id


def status_of(app: Flask, booking_id: int) -> BookingStatus:
    with app.app_context():
        return db.session.get_one(Booking, booking_id).status


def _member(name: str, role: Role) -> Member:
    return Member(
        email=f"{name}@club.example", name=name.capitalize(), role=role, password_hash=PASSWORD_HASH
    )


def _app(database: Path) -> Flask:
    return create_app("testing", {"SQLALCHEMY_DATABASE_URI": f"sqlite:///{database}"})
