"""What all operations have in common: checks before, and problems in the place of exceptions."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.csrf import csrf_exempt

from demos.django_side import tokens
from demos.django_side.problems import Problem


@method_decorator(csrf_exempt, name="dispatch")  # a token is no cookie: no browser sends it by itself
class Operations(View):
    """The operations at one address, by their methods."""

    public = False

    def dispatch(self, request: HttpRequest, **arguments: Any) -> HttpResponse:
        try:
            if request.method != "OPTIONS" and hasattr(self, request.method.lower()):
                self._check(request)
            response: HttpResponse = super().dispatch(request, **arguments)
        except Problem as problem:
            return problem.to_response()
        return response

    def http_method_not_allowed(self, request: HttpRequest, **arguments: Any) -> HttpResponse:
        allowed = ", ".join(self._allowed_methods())
        raise Problem(405, f"This address allows {allowed}.", headers={"Allow": allowed})

    def _check(self, request: HttpRequest) -> None:
        if not request.get_preferred_type(["application/json", "application/problem+json"]):
            raise Problem(406, "The API answers in application/json. Accept that, or send no Accept.")
        if not self.public:
            request.user = tokens.authenticate(request)
