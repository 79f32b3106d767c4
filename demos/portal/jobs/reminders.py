"""A kind of job: a mail to everybody who has a boat tomorrow, one in each step."""

from typing import Any

from demos.portal import mail
from demos.portal.extensions import db
from demos.portal.jobs.kinds import Step, kind
from demos.portal.models import Booking, BookingStatus


@kind("reminders")
def reminders(arguments: dict[str, Any], number: int) -> Step:
    """Remind one of them. Arguments: the ids of the bookings, as they were when it was ordered."""
    bookings = arguments["bookings"]
    booking = db.session.get(Booking, bookings[number]) if number < len(bookings) else None
    if booking is None or booking.status != BookingStatus.APPROVED:
        return Step(total=len(bookings))  # it was cancelled meanwhile
    mail.send(booking.member.email, "You are rowing tomorrow", f"{booking.title}. Mind the weather.")
    return Step(total=len(bookings), output=f"{booking.member.name}: {booking.title}\n")
