"""Who is it? Tokens and passwords."""

import datetime
import hashlib
import secrets
import threading
from functools import cache

from flask import g, request
from sqlalchemy import ColumnElement, delete, func, select
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import TooManyRequests, Unauthorized
from werkzeug.security import check_password_hash, generate_password_hash

from demos.api import schemas
from demos.api.database import database
from demos.api.models import FailedLogin, Token, User

TOKEN_LIFE = datetime.timedelta(days=30)
ATTEMPTS = 10  # wrong passwords for a name from one address, within:
ATTEMPTS_LIFE = datetime.timedelta(minutes=15)

# scrypt takes 32 MiB for each password; forty at once would be more than a gigabyte.
_few_at_once = threading.BoundedSemaphore(4)


def authenticate() -> User:
    """Find out who makes this request, by its token; `g.user` is that user from then on."""
    authorization = request.authorization
    if authorization is None or authorization.type != "bearer" or not authorization.token:
        raise _unauthorized("Log in with POST /tokens, and send the token as Authorization: Bearer ….")
    session = database.session()
    token = session.scalar(select(Token).where(Token.token_hash == _hash(authorization.token)))
    session.commit()  # gives the connection back, for the body may be slow to come
    if token is None or _aware(token.expires) < _now():
        raise _unauthorized("The token is unknown or has expired. Log in again.")
    g.user = token.user
    return token.user


def log_in(credentials: schemas.Credentials) -> schemas.Token:
    """Make a token for who knows the password.

    Who does not, learns nothing of who is a user here: neither from what is said, nor from how long it takes.
    """
    session = database.session()
    _check_attempts(credentials.name)
    hash_of_nobody = _hash_of_nobody()
    user = session.scalar(select(User).where(User.name == credentials.name))
    session.commit()  # gives the connection back, for hashing takes its time
    right = _is_password(credentials.password, user.password_hash if user else hash_of_nobody)
    if user is None or not right:
        session.add(FailedLogin(name=credentials.name, address=_address(), time=_now()))
        session.commit()
        raise _unauthorized("There is no user with that name and that password.")
    secret = secrets.token_urlsafe(32)
    token = Token(token_hash=_hash(secret), user_number=user.number, expires=_now() + TOKEN_LIFE)
    session.execute(delete(FailedLogin).where(*_of_this_client(credentials.name)))
    session.execute(delete(Token).where(Token.expires < _now()))
    session.add(token)
    session.commit()
    return schemas.Token(id=token.id, token=secret, expires=_aware(token.expires))


def hash_password(password: str) -> str:
    with _few_at_once:
        return generate_password_hash(password)


def _is_password(password: str, password_hash: str) -> bool:
    with _few_at_once:
        return check_password_hash(password_hash, password)


@cache
def _hash_of_nobody() -> str:
    return hash_password(secrets.token_urlsafe())


def _check_attempts(name: str) -> None:
    session = database.session()
    session.execute(delete(FailedLogin).where(FailedLogin.time < _now() - ATTEMPTS_LIFE))
    failed = select(func.count()).select_from(FailedLogin).where(*_of_this_client(name))
    too_many = (session.scalar(failed) or 0) >= ATTEMPTS
    session.commit()
    if too_many:
        seconds = int(ATTEMPTS_LIFE.total_seconds())
        raise TooManyRequests("Too many wrong passwords; try again later.", retry_after=seconds)


def _of_this_client(name: str) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return FailedLogin.name == name, FailedLogin.address == _address()


def _address() -> str:
    return (request.remote_addr or "")[:64]


def _unauthorized(detail: str) -> Unauthorized:
    return Unauthorized(detail, www_authenticate=WWWAuthenticate("bearer", {"realm": "sightings"}))


def _hash(token: str) -> str:
    """A plain hash will do: what has 256 random bits cannot be guessed, as passwords can."""
    return hashlib.sha256(token.encode()).hexdigest()


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def _aware(time: datetime.datetime) -> datetime.datetime:
    """SQLite keeps no time zones."""
    return time if time.tzinfo else time.replace(tzinfo=datetime.UTC)
