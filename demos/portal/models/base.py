"""What all models share."""

from enum import StrEnum

from sqlalchemy import Enum, MetaData
from sqlalchemy.orm import DeclarativeBase


class Base(DeclarativeBase):
    """Constraints have names, so that a migration can change them on every database."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_name)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


def one_of(values: type[StrEnum]) -> Enum:
    """A column that holds one of these words, as text: a new word needs no migration."""
    return Enum(values, native_enum=False, length=20, values_callable=_words)


def _words(values: type[StrEnum]) -> list[str]:
    return [each.value for each in values]
