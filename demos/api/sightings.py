"""Operations: keep a sighting, look at those of all, change and delete one's own."""

import uuid

from flask import Blueprint, Response, g, request, url_for
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from werkzeug.exceptions import (
    Conflict,
    Forbidden,
    NotFound,
    PreconditionFailed,
    PreconditionRequired,
)

from demos.api import schemas
from demos.api.database import database
from demos.api.models import Sighting, User
from demos.api.operations import Operation, answer, no_content

blueprint = Blueprint("sightings", __name__)


@blueprint.get("/sightings")
@Operation(query=schemas.SightingsQuery, answers={200: schemas.SightingsPage})
def list_sightings(query: schemas.SightingsQuery) -> Response:
    """A page of sightings, newest first.

    The next page begins after the last sighting of this one, not after a number of them. So none appears
    twice and none is missing when others add or delete sightings meanwhile.
    """
    statement = select(Sighting).order_by(Sighting.number.desc()).limit(query.limit + 1)
    if query.before is not None:
        statement = statement.where(Sighting.number < query.before)
    if query.species is not None:
        statement = statement.where(Sighting.species == query.species)
    if query.by is not None:
        statement = statement.where(Sighting.user.has(User.name == query.by))
    found = database.session().scalars(statement).all()
    page, more = found[: query.limit], len(found) > query.limit
    following = query.model_copy(update={"before": page[-1].number}) if more else None
    return answer(
        schemas.SightingsPage(
            items=[_to_schema(sighting) for sighting in page],
            next=url_for(".list_sightings", **following.model_dump(exclude_none=True)) if following else None,
        )
    )


@blueprint.get("/sightings/<uuid:sighting_id>")
@Operation(answers={200: schemas.Sighting, 304: None}, conditional="If-None-Match")
def get_sighting(sighting_id: uuid.UUID) -> Response:
    """One sighting."""
    response = _answer(_get(sighting_id))
    response.make_conditional(request)
    return response


@blueprint.put("/sightings/<uuid:sighting_id>")
@Operation(
    body=schemas.SightingToKeep,
    answers={200: schemas.Sighting, 201: schemas.Sighting},
    problems=(403, 409, 412, 428),
    conditional="If-Match",
)
def put_sighting(sighting_id: uuid.UUID, body: schemas.SightingToKeep) -> Response:
    """Save a sighting under an id that you made, or change it.

    To send the same again is safe: do so when you got no answer. To change a sighting, send its ETag as
    `If-Match`, so that you do not overwrite what you have not seen.
    """
    sighting = _find(sighting_id)
    if sighting is None:
        return _create(sighting_id, body)
    _check_mine(sighting)
    if _is_same(sighting, body):
        return _answer(sighting)
    if "If-Match" not in request.headers:
        raise PreconditionRequired("You have another sighting under this id. To change it, send If-Match.")
    _check_if_match(sighting)
    _assign(sighting, body)
    database.session().commit()
    return _answer(sighting)


@blueprint.delete("/sightings/<uuid:sighting_id>")
@Operation(answers={204: None}, problems=(403, 412), conditional="If-Match")
def delete_sighting(sighting_id: uuid.UUID) -> Response:
    """Delete a sighting."""
    sighting = _get(sighting_id)
    _check_mine(sighting)
    _check_if_match(sighting)
    session = database.session()
    session.delete(sighting)
    session.commit()
    return no_content()


def _create(sighting_id: uuid.UUID, body: schemas.SightingToKeep) -> Response:
    if "If-Match" in request.headers:
        raise PreconditionFailed("There is no sighting under this id, or it was deleted.")
    session = database.session()
    sighting = Sighting(id=sighting_id, user=g.user)
    _assign(sighting, body)
    session.add(sighting)
    try:
        session.commit()
    except IntegrityError as error:
        raise Conflict("Another request is creating it at this moment. Send yours again.") from error
    response = _answer(sighting, 201)
    response.location = url_for(".get_sighting", sighting_id=sighting_id)
    return response


def _find(sighting_id: uuid.UUID) -> Sighting | None:
    return database.session().scalar(select(Sighting).where(Sighting.id == sighting_id))


def _get(sighting_id: uuid.UUID) -> Sighting:
    sighting = _find(sighting_id)
    if sighting is None:
        raise NotFound("There is no sighting with that id.")
    return sighting


def _check_mine(sighting: Sighting) -> None:
    if sighting.user is not g.user:
        raise Forbidden("This sighting belongs to somebody else. Only that user may change it.")


def _check_if_match(sighting: Sighting) -> None:
    if "If-Match" in request.headers and not request.if_match.contains(_etag(sighting)):
        raise PreconditionFailed("It has changed since you read it. Read it again, then decide.")


def _assign(sighting: Sighting, body: schemas.SightingToKeep) -> None:
    for name, value in body.model_dump(exclude={"place"}).items():
        setattr(sighting, name, value)
    sighting.latitude = body.place.latitude if body.place else None
    sighting.longitude = body.place.longitude if body.place else None


def _is_same(sighting: Sighting, body: schemas.SightingToKeep) -> bool:
    kept = _to_schema(sighting).model_dump()
    return all(kept[name] == value for name, value in body.model_dump().items())


def _to_schema(sighting: Sighting) -> schemas.Sighting:
    place = None
    if sighting.latitude is not None and sighting.longitude is not None:
        place = schemas.Place(latitude=sighting.latitude, longitude=sighting.longitude)
    return schemas.Sighting(
        id=sighting.id,
        number=sighting.number,
        by=sighting.user.name,
        species=sighting.species,
        seen_on=sighting.seen_on,
        count=sighting.count,
        notes=sighting.notes,
        place=place,
    )


def _etag(sighting: Sighting) -> str:
    return f"{sighting.number}-{sighting.version}"


def _answer(sighting: Sighting, status: int = 200) -> Response:
    response = answer(_to_schema(sighting), status)
    response.set_etag(_etag(sighting))
    return response
