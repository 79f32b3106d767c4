"""Errors: whatever goes wrong, the client gets problem details (RFC 9457), as from `demos/api`."""

from dataclasses import asdict, dataclass
from http import HTTPStatus

from django.http import HttpRequest, HttpResponse, JsonResponse


@dataclass(frozen=True)
class Mistake:
    """One thing that is wrong with what was sent: where in the body, or in which parameter of the query."""

    detail: str
    pointer: str | None = None
    parameter: str | None = None


class Problem(Exception):
    """A request cannot be answered as it should."""

    def __init__(
        self,
        status: int,
        detail: str,
        mistakes: list[Mistake] | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.mistakes = mistakes or []
        self.headers = headers or {}

    def to_response(self) -> HttpResponse:
        found = {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
        }
        if self.mistakes:
            errors = [asdict(mistake).items() for mistake in self.mistakes]
            found["errors"] = [
                {name: value for name, value in error if value is not None} for error in errors
            ]
        return JsonResponse(
            found, status=self.status, headers=self.headers, content_type="application/problem+json"
        )


# What Django calls when no view has answered; urls.py names them.


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    return Problem(
        400, "This request cannot be understood, or names a host that is not served here."
    ).to_response()


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    return Problem(404, "There is nothing at this address.").to_response()


def server_error(request: HttpRequest) -> HttpResponse:
    return Problem(500, "The server failed. Your request is not the cause.").to_response()
