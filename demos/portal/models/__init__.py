"""What the club keeps: plain SQLAlchemy, which knows nothing of Flask."""

from demos.portal.models.base import Base
from demos.portal.models.booking import Boat, Booking, BookingStatus, TimeOfDay
from demos.portal.models.job import Job, JobStatus
from demos.portal.models.member import Member, Role

__all__ = ["Base", "Boat", "Booking", "BookingStatus", "Job", "JobStatus", "Member", "Role", "TimeOfDay"]
