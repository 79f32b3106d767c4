"""A club to try the portal with; only in development."""

import random
from datetime import date, timedelta

from werkzeug.security import generate_password_hash

from demos.portal.extensions import db
from demos.portal.models import Boat, Booking, BookingStatus, Member, Role, TimeOfDay

# For everybody to know: the front page says them in development, and there are none in production.
PASSWORD = "easy-all-and-rest"
ACCOUNTS = (
    ("mia@millreach.example", "Mia Maddox", Role.MEMBER),
    ("sam@millreach.example", "Sam Sculley", Role.STEWARD),
    ("ada@millreach.example", "Ada Anker", Role.ADMIN),
)

_OTHERS = ("Ben Bow", "Cleo Cox", "Dev Deck", "Eva Eddy", "Finn Ferry")
_BOATS = {"Kingfisher": 1, "Dragonfly": 1, "Heron": 2, "Otter": 2, "Grebe": 4, "Osprey": 4, "Old Thunder": 8}


def add_demo_data() -> None:
    """Add boats, members, and bookings of a year and the next few days. Commits."""
    chance = random.Random(1)
    password_hash = generate_password_hash(PASSWORD)
    members = [
        Member(email=email, name=name, role=role, password_hash=password_hash)
        for email, name, role in ACCOUNTS
    ]
    members += [
        Member(email=f"{name.split()[0].lower()}@millreach.example", name=name, password_hash=password_hash)
        for name in _OTHERS
    ]
    boats = [Boat(name=name, seats=seats) for name, seats in _BOATS.items()]
    db.session.add_all([*members, *boats])
    today = date.today()
    for offset in range(-330, 10, 2):
        booking = Booking(
            member=chance.choice(members),
            boat=chance.choice(boats),
            day=today + timedelta(days=offset),
            time_of_day=chance.choice(list(TimeOfDay)),
            status=BookingStatus.APPROVED if offset < 4 else BookingStatus.REQUESTED,
        )
        db.session.add(booking)
    tomorrow = today + timedelta(days=1)
    for member, boat in zip(members, boats, strict=False):
        db.session.add(
            Booking(
                member=member,
                boat=boat,
                day=tomorrow,
                time_of_day=TimeOfDay.EVENING,
                status=BookingStatus.APPROVED,
                note="The Tuesday eight",
            )
        )
    db.session.commit()
