"""Members, and what each may do."""

import secrets
import time
from enum import StrEnum
from functools import cache
from typing import TypeGuard

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column
from werkzeug.security import check_password_hash, generate_password_hash

from demos.portal.models.base import Base, one_of


class Role(StrEnum):
    """Each may do what those before it may."""

    MEMBER = "member"
    STEWARD = "steward"
    ADMIN = "admin"

    def includes(self, other: "Role") -> bool:
        """Whether who has this role may do what the other may."""
        ranks = list(Role)
        return ranks.index(self) >= ranks.index(other)


class Member(Base):
    """Somebody with an account. Flask-Login asks for the `is_…` and `get_id`."""

    __tablename__ = "members"

    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(String(254), unique=True)
    name: Mapped[str] = mapped_column(String(80))
    password_hash: Mapped[str] = mapped_column(String(255))
    role: Mapped[Role] = mapped_column(one_of(Role), default=Role.MEMBER)
    is_active: Mapped[bool] = mapped_column(default=True)
    session_token: Mapped[str] = mapped_column(String(64), unique=True, default=secrets.token_hex)
    joined_at: Mapped[float] = mapped_column(default=time.time)

    is_authenticated = True
    is_anonymous = False

    def get_id(self) -> str:
        """What the session cookie holds in the place of the id: it can be changed, and the cookie is void."""
        return self.session_token

    def may(self, role: Role) -> bool:
        """Whether they may do what is for this role."""
        return self.role.includes(role)

    def set_password(self, password: str) -> None:
        """Keep a hash of the password."""
        self.password_hash = generate_password_hash(password)

    def end_sessions(self) -> None:
        """Make every cookie void that was given out for them."""
        self.session_token = secrets.token_hex()


def has_password(member: Member | None, password: str) -> TypeGuard[Member]:
    """Whether there is such a member, with this password; it takes the same time if there is none."""
    right = check_password_hash(member.password_hash if member else _nobodys_hash(), password)
    return right and member is not None and member.is_active


@cache
def _nobodys_hash() -> str:
    return generate_password_hash(secrets.token_hex())
