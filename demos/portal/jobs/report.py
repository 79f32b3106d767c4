"""A kind of job: a year's bookings as CSV, a month in each step."""

import csv
import io
from datetime import date
from typing import Any

from sqlalchemy import select

from demos.portal.extensions import db
from demos.portal.jobs.kinds import Step, kind
from demos.portal.models import Booking

COLUMNS = ("day", "time of day", "boat", "member", "status", "note")


@kind("report")
def report(arguments: dict[str, Any], number: int) -> Step:
    """The bookings of a month. Arguments: the year, and the member it is about; None is the whole club."""
    text = io.StringIO()
    rows = csv.writer(text)
    if number == 0:
        rows.writerow(COLUMNS)
    for booking in db.session.scalars(_bookings(arguments["year"], number + 1, arguments["member_id"])):
        rows.writerow(
            [
                booking.day,
                booking.time_of_day,
                _as_text(booking.boat.name),
                _as_text(booking.member.name),
                booking.status,
                _as_text(booking.note),
            ]
        )
    return Step(total=12, output=text.getvalue())


def _bookings(year: int, month: int, member_id: int | None) -> Any:
    first = date(year, month, 1)
    following = date(year + month // 12, month % 12 + 1, 1)
    bookings = select(Booking).where(Booking.day >= first, Booking.day < following)
    if member_id is not None:
        bookings = bookings.where(Booking.member_id == member_id)
    return bookings.order_by(Booking.day, Booking.id)


def _as_text(cell: str) -> str:
    """What a member has written must not become a formula where the file is opened."""
    return f"'{cell}" if cell.startswith(("=", "+", "-", "@", "\t", "\r")) else cell
