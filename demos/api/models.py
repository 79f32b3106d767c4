"""What is kept: the tables, as SQLAlchemy's typed models. The migrations are held to them by a test."""

import datetime
import uuid

from sqlalchemy import BigInteger, DateTime, Double, ForeignKey, Integer, MetaData, String, Text, Uuid
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

# SQLite counts up only in a column that is an INTEGER by this very name.
Number = BigInteger().with_variant(Integer, "sqlite")


class Base(DeclarativeBase):
    # Constraints have names, so that a migration can change them.
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_name)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class User(Base):
    """Someone who watches birds."""

    __tablename__ = "users"

    number: Mapped[int] = mapped_column(Number, primary_key=True)
    name: Mapped[str] = mapped_column(String(40), unique=True)
    password_hash: Mapped[str] = mapped_column(String(255))


class Token(Base):
    """A login on one device. Of the token itself there is only a hash: who reads the table cannot log in."""

    __tablename__ = "tokens"

    id: Mapped[uuid.UUID] = mapped_column(Uuid, primary_key=True, default=uuid.uuid4)
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    user_number: Mapped[int] = mapped_column(ForeignKey("users.number"), index=True)
    expires: Mapped[datetime.datetime] = mapped_column(DateTime(timezone=True))

    user: Mapped[User] = relationship(lazy="joined", innerjoin=True)


class FailedLogin(Base):
    """A wrong password, remembered until it no longer counts. It is here for all workers to see."""

    __tablename__ = "failed_logins"

    number: Mapped[int] = mapped_column(Number, primary_key=True)
    name: Mapped[str] = mapped_column(String(40))
    address: Mapped[str] = mapped_column(String(64))
    time: Mapped[datetime.datetime] = mapped_column(DateTime(timezone=True), index=True)


class Sighting(Base):
    """A bird that someone has seen.

    `id` is made by the phone, so that it can repeat a request whose answer was lost. `number` is counted up
    here, never used twice, and orders the pages. `version` goes up with each change: SQLAlchemy updates a row
    only if it still has the version that was read.
    """

    __tablename__ = "sightings"
    __table_args__ = ({"sqlite_autoincrement": True},)

    number: Mapped[int] = mapped_column(Number, primary_key=True)
    id: Mapped[uuid.UUID] = mapped_column(Uuid, unique=True)
    version: Mapped[int] = mapped_column()
    user_number: Mapped[int] = mapped_column(ForeignKey("users.number"), index=True)
    species: Mapped[str] = mapped_column(String(80), index=True)
    seen_on: Mapped[datetime.date]
    count: Mapped[int]
    notes: Mapped[str] = mapped_column(Text)
    latitude: Mapped[float | None] = mapped_column(Double)
    longitude: Mapped[float | None] = mapped_column(Double)

    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012  # as SQLAlchemy declares it

    user: Mapped[User] = relationship(lazy="joined", innerjoin=True)
