"""Operations: become a user, log in, log out."""

import uuid

from flask import Blueprint, Response, g
from sqlalchemy import delete
from sqlalchemy.exc import IntegrityError
from werkzeug.exceptions import Conflict, NotFound

from demos.api import schemas, tokens
from demos.api.database import database
from demos.api.models import Token, User
from demos.api.operations import Operation, answer, no_content

blueprint = Blueprint("people", __name__)


@blueprint.post("/users")
@Operation(body=schemas.Credentials, answers={201: schemas.User}, problems=(409,), public=True)
def create_user(body: schemas.Credentials) -> Response:
    """Sign up."""
    session = database.session()
    user = User(name=body.name, password_hash=tokens.hash_password(body.password))
    session.add(user)
    try:
        session.commit()
    except IntegrityError as error:
        raise Conflict("That name is taken.") from error
    return answer(schemas.User(name=user.name), 201)


@blueprint.post("/tokens")
@Operation(body=schemas.Credentials, answers={201: schemas.Token}, problems=(401, 429), public=True)
def create_token(body: schemas.Credentials) -> Response:
    """Log in. The token is valid for 30 days."""
    response = answer(tokens.log_in(body), 201)
    response.cache_control.no_store = True
    return response


@blueprint.delete("/tokens/<uuid:token_id>")
@Operation(answers={204: None})
def delete_token(token_id: uuid.UUID) -> Response:
    """Log out, on this device or on another of yours."""
    session = database.session()
    mine = delete(Token).where(Token.id == token_id, Token.user_number == g.user.number).returning(Token.id)
    if session.scalar(mine) is None:
        raise NotFound("You have no token with that id.")
    session.commit()
    return no_content()
