"""Work that is done in the background, and must not be lost."""

import time
from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, ForeignKey, Select, String, Text, select
from sqlalchemy.orm import Mapped, mapped_column, relationship

from demos.portal.models.base import Base, one_of
from demos.portal.models.member import Member, Role


class JobStatus(StrEnum):
    """Waiting → running → done or failed; and back to waiting, to be tried again."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


class Job(Base):
    """A row of the queue. Moments are in seconds since 1970, the same on every database."""

    __tablename__ = "jobs"

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(40))
    arguments: Mapped[dict[str, Any]] = mapped_column(JSON)
    owner_id: Mapped[int] = mapped_column(ForeignKey("members.id"), index=True)
    status: Mapped[JobStatus] = mapped_column(one_of(JobStatus), default=JobStatus.WAITING, index=True)
    created_at: Mapped[float] = mapped_column(default=time.time)
    finished_at: Mapped[float | None]
    not_before: Mapped[float] = mapped_column(default=0.0)

    done: Mapped[int] = mapped_column(default=0)  # steps
    total: Mapped[int] = mapped_column(default=0)  # 0: not known yet
    output: Mapped[str] = mapped_column(Text, default="")
    failures: Mapped[int] = mapped_column(default=0)
    error: Mapped[str] = mapped_column(String(500), default="")

    worker: Mapped[str | None] = mapped_column(String(80))
    lease_until: Mapped[float] = mapped_column(default=0.0)

    owner: Mapped[Member] = relationship(lazy="joined")

    @property
    def is_over(self) -> bool:
        """Whether no worker will touch it again by itself."""
        return self.status in (JobStatus.DONE, JobStatus.FAILED)

    @staticmethod
    def visible_to(member: Member) -> Select["Job"]:
        """Those a member may see: their own; for admins, all."""
        jobs = select(Job)
        return jobs if member.may(Role.ADMIN) else jobs.where(Job.owner_id == member.id)
