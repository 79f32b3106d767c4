"""A phone that calls the API, and holds every answer to what all of them have in common."""

import uuid
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self

import httpx

PASSWORD = "correct horse"
THRUSH = {"species": "Song thrush", "seen_on": "2026-04-01"}


class Phone:
    """Someone's phone. It is logged in with a token, or once `log_in` was called."""

    def __init__(self, address: str, token: str | None = None) -> None:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        # There is no TLS, and to read the certificates for it takes longer than a test.
        self._client = httpx.Client(base_url=address, headers=headers, timeout=15, verify=False)
        self.name = f"someone-{uuid.uuid4().hex[:12]}"
        self.token_id = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def call(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Make a request; arguments as for httpx."""
        response = self._client.request(method, path, **options)
        if response.status_code >= 400:
            check_problem(response)
        return response

    def sign_up(self) -> None:
        response = self.call("POST", "/users", json=self.credentials())
        assert (response.status_code, response.json()) == (201, {"name": self.name})

    def log_in(self) -> str:
        response = self.call("POST", "/tokens", json=self.credentials())
        assert response.status_code == 201
        self.token_id = response.json()["id"]
        token: str = response.json()["token"]
        self._client.headers["Authorization"] = f"Bearer {token}"
        return token

    def keep(self, path: str | None = None, **values: Any) -> httpx.Response:
        """Keep a sighting under a new id, or under one of before."""
        headers = values.pop("headers", {})
        path = path or f"/sightings/{uuid.uuid4()}"
        return self.call("PUT", path, json=THRUSH | values, headers=headers)

    def credentials(self) -> dict[str, str]:
        return {"name": self.name, "password": PASSWORD}


def check_problem(response: httpx.Response) -> None:
    """It is of the one shape that every error has."""
    problem = response.json()
    assert response.headers["Content-Type"] == "application/problem+json"
    assert set(problem) - {"errors"} == {"type", "title", "status", "detail"}
    assert problem["status"] == response.status_code
    assert problem["title"] == HTTPStatus(response.status_code).phrase
    assert problem["detail"]
    assert ("errors" in problem) == (response.status_code == 422)
    for mistake in problem.get("errors", []):
        assert set(mistake) in ({"detail", "pointer"}, {"detail", "parameter"})
