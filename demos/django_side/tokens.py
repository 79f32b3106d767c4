"""Who is it? Django has users, passwords and signatures; tokens are three lines more.

A signed token needs no table, but nobody can take it back before it expires.
"""

import datetime

from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractBaseUser
from django.core import signing
from django.http import HttpRequest

from demos.django_side.problems import Problem

LIFE = datetime.timedelta(days=30)
SALT = "demos.django_side.token"  # a signature made for something else is none here


def make_token(user: AbstractBaseUser) -> str:
    token: str = signing.dumps(user.pk, salt=SALT)
    return token


def authenticate(request: HttpRequest) -> AbstractBaseUser:
    """Who makes this request, by its token.

    Raises:
        Problem: 401.
    """
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise unauthorized("Log in with POST /tokens, and send the token as Authorization: Bearer ….")
    try:
        return get_user_model().objects.get(pk=signing.loads(token, salt=SALT, max_age=LIFE), is_active=True)
    except (signing.BadSignature, get_user_model().DoesNotExist):
        raise unauthorized("The token is unknown or has expired. Log in again.") from None


def unauthorized(detail: str) -> Problem:
    return Problem(401, detail, headers={"WWW-Authenticate": 'Bearer realm="sightings"'})
