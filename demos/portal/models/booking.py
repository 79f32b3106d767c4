"""Boats, and who has asked for which and when."""

import time
from datetime import date
from enum import StrEnum

from sqlalchemy import ForeignKey, Index, Select, String, select
from sqlalchemy.orm import Mapped, mapped_column, relationship

from demos.portal.models.base import Base, one_of
from demos.portal.models.member import Member, Role


class TimeOfDay(StrEnum):
    """A boat is out once in each."""

    MORNING = "morning"
    AFTERNOON = "afternoon"
    EVENING = "evening"


class BookingStatus(StrEnum):
    """From requested to one of the others, and from approved to cancelled."""

    REQUESTED = "requested"
    APPROVED = "approved"
    REFUSED = "refused"
    CANCELLED = "cancelled"


class Boat(Base):
    """What can be booked."""

    __tablename__ = "boats"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(40), unique=True)
    seats: Mapped[int]


class Booking(Base):
    """A member's request for a boat, and what became of it."""

    __tablename__ = "bookings"

    id: Mapped[int] = mapped_column(primary_key=True)
    member_id: Mapped[int] = mapped_column(ForeignKey("members.id"), index=True)
    boat_id: Mapped[int] = mapped_column(ForeignKey("boats.id"))
    day: Mapped[date] = mapped_column(index=True)
    time_of_day: Mapped[TimeOfDay] = mapped_column(one_of(TimeOfDay))
    note: Mapped[str] = mapped_column(String(200), default="")
    status: Mapped[BookingStatus] = mapped_column(one_of(BookingStatus), default=BookingStatus.REQUESTED)
    created_at: Mapped[float] = mapped_column(default=time.time)

    member: Mapped[Member] = relationship(lazy="joined")
    boat: Mapped[Boat] = relationship(lazy="joined")

    # The database holds the rule, for two stewards may approve at the same moment.
    __table_args__ = (
        Index(
            "uq_bookings_approved",
            "boat_id",
            "day",
            "time_of_day",
            unique=True,
            sqlite_where=status == BookingStatus.APPROVED,
            postgresql_where=status == BookingStatus.APPROVED,
        ),
    )

    @property
    def title(self) -> str:
        """What it is about, in a line."""
        return f"{self.boat.name}, {self.day:%a %d %b %Y}, {self.time_of_day}"

    @property
    def can_be_cancelled(self) -> bool:
        """Whether it stands, and is not over."""
        stands = self.status in (BookingStatus.REQUESTED, BookingStatus.APPROVED)
        return stands and self.day >= date.today()

    @staticmethod
    def visible_to(member: Member) -> Select["Booking"]:
        """Those a member may see: their own; for stewards, all."""
        bookings = select(Booking)
        return bookings if member.may(Role.STEWARD) else bookings.where(Booking.member_id == member.id)
