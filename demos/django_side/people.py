"""Operations: become a user, log in."""

from django.contrib.auth import authenticate, get_user_model
from django.db import IntegrityError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils import timezone

from demos.django_side import tokens
from demos.django_side.forms import read_credentials
from demos.django_side.operations import Operations
from demos.django_side.problems import Problem


class Users(Operations):
    public = True

    def post(self, request: HttpRequest) -> HttpResponse:
        name, password = read_credentials(request)
        try:
            get_user_model().objects.create_user(name, password=password)
        except IntegrityError:
            raise Problem(409, "That name is taken.") from None
        return JsonResponse({"name": name}, status=201)


class Tokens(Operations):
    public = True

    def post(self, request: HttpRequest) -> HttpResponse:
        name, password = read_credentials(request)
        user = authenticate(request, username=name, password=password)
        if user is None:
            raise tokens.unauthorized("There is no user with that name and that password.")
        made = {"token": tokens.make_token(user), "expires": timezone.now() + tokens.LIFE}
        return JsonResponse(made, status=201, headers={"Cache-Control": "no-store"})
