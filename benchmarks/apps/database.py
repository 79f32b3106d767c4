"""A table of items, through SQLAlchemy's ORM."""

from functools import cache

from sqlalchemy import Engine, create_engine, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from benchmarks.apps import THREADS
from benchmarks.materials import DATABASE, material

__all__ = ["items"]


class _Base(DeclarativeBase):
    pass


class _Item(_Base):
    __tablename__ = "items"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    price: Mapped[float]


def items(*, first: int, count: int) -> list[dict[str, object]]:
    """The items with these ids."""
    asked = select(_Item).where(_Item.id >= first).order_by(_Item.id).limit(count)
    with Session(_engine()) as session:
        return [{"id": item.id, "name": item.name, "price": item.price} for item in session.scalars(asked)]


@cache
def _engine() -> Engine:
    """One engine for the process, with a connection for every thread there may be."""
    return create_engine(f"sqlite:///{material(DATABASE)}", pool_size=THREADS)
