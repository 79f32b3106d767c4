"""What comes in and what goes out. Validation and the document are both made from these, so they agree.

Rules are therefore such as JSON Schema can say, too: lengths, ranges, patterns.
"""

import datetime
import uuid
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

# Each pattern, and what to tell who does not keep to it. None lets a NUL pass, which PostgreSQL cannot keep.
PATTERNS = {
    r"^[a-z0-9][a-z0-9_-]*$": "use small letters, digits, hyphens and underscores",
    r"^[^\x00-\x20]+( [^\x00-\x20]+)*$": "use words with one space between them, and no control characters",
    r"^[^\x00]*$": "the character NUL cannot be kept",
}
_NAME, _WORDS, _TEXT = PATTERNS


def _whole_number(value: object) -> object:
    """To JSON, and to its schemas, 2.0 is as much an integer as 2."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Name = Annotated[str, StringConstraints(min_length=1, max_length=40, pattern=_NAME)]
Species = Annotated[str, StringConstraints(min_length=1, max_length=80, pattern=_WORDS)]
Count = Annotated[int, Field(ge=1, le=1_000_000), BeforeValidator(_whole_number)]


class Received(BaseModel):
    """What a client sends. A field nobody knows is refused, for it is most likely a mistyped one."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


class Credentials(Received):
    name: Name = Field(examples=["ada"])
    password: Annotated[str, Field(min_length=8, max_length=200, examples=["correct horse"])]


class Place(Received):
    latitude: Annotated[float, Field(ge=-90, le=90, examples=[51.48])]
    longitude: Annotated[float, Field(ge=-180, le=180, examples=[0.0])]


class SightingToKeep(Received):
    species: Species = Field(examples=["Song thrush"])
    seen_on: datetime.date = Field(examples=["2026-04-01"])
    count: Count = 1
    notes: Annotated[str, StringConstraints(max_length=2000, pattern=_TEXT)] = ""
    place: Place | None = None


class SightingsQuery(BaseModel):
    """Values of a query are text; so here, and only here, "20" is a number."""

    model_config = ConfigDict(extra="forbid")

    limit: int = Field(20, ge=1, le=100, description="At most so many.")
    before: int | None = Field(
        None, ge=1, le=2**63 - 1, description="Only sightings with a smaller number; it is part of `next`."
    )
    species: Species | None = Field(None, description="Only sightings of this species.")
    by: Name | None = Field(None, description="Only sightings of this user.")


class User(BaseModel):
    name: str


class Token(BaseModel):
    id: uuid.UUID = Field(description="Names the token when you log out.")
    token: str = Field(description="Send it as `Authorization: Bearer …`. You see it only once, here.")
    expires: datetime.datetime


class Sighting(BaseModel):
    id: uuid.UUID
    number: int = Field(description="Every new sighting has a higher one.")
    by: str = Field(description="The name of the user who saw it.")
    species: str
    seen_on: datetime.date
    count: int
    notes: str
    place: Place | None


class SightingsPage(BaseModel):
    items: list[Sighting]
    next: str | None = Field(description="The address of the next page; null on the last one.")


class Mistake(BaseModel):
    """One thing that is wrong with what was sent, and where: in the body, or in the query."""

    detail: str
    pointer: str | None = Field(
        default=None, description="Where in the body: a JSON pointer, as `#/place/latitude`."
    )
    parameter: str | None = Field(default=None, description="Which parameter of the query.")


class Problem(BaseModel):
    """Every error of this API: problem details as in RFC 9457, sent as `application/problem+json`."""

    type: str = "about:blank"
    title: str = Field(description="The name of the status.")
    status: int = Field(description="The status code of the response.")
    detail: str = Field(description="What is wrong, and what to do, for people to read.")
    errors: list[Mistake] = Field([], description="What is wrong with each value; only with 422.")

    def to_json(self) -> str:
        return self.model_dump_json(exclude_none=True, exclude=None if self.errors else {"errors"})


JSON = dict[str, Any]
