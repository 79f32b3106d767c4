"""Whatever is wrong with a request, its answer says what, in one shape (`check_problem` sees to that)."""

import json
from typing import Any

import pytest

from tests.demos.api.phone import THRUSH, Phone

pytestmark = pytest.mark.timeout(60)  # the first has to wait for PostgreSQL

ID = "/sightings/6f1e8a3e-4a3b-4b0e-9a51-0d5c2f6a0001"
JSON = {"Content-Type": "application/json"}


def body(**values: Any) -> dict[str, Any]:
    """A PUT of a sighting in which something is wrong."""
    return {"json": THRUSH | values}


def raw(content: bytes) -> dict[str, Any]:
    return {"content": content, "headers": JSON}


STATUSES: list[tuple[str, str, dict[str, Any], int]] = [
    ("PUT", ID, raw(b""), 400),
    ("PUT", ID, raw(b'{"species": "Wr'), 400),
    ("PUT", ID, raw(b"\xff\xfe"), 400),
    ("PUT", ID, raw(b'{"species": "\\ud800", "seen_on": "2026-04-01"}'), 400),  # half of a character
    ("PUT", ID, raw(b"[" * 30_000), 400),
    ("GET", "/nowhere", {}, 404),
    ("GET", "/sightings/1", {}, 404),
    ("GET", "/sightings/%00", {}, 404),
    ("GET", ID, {}, 404),
    ("DELETE", ID, {}, 404),
    ("PATCH", ID, {}, 405),
    ("DELETE", "/sightings", {}, 405),
    ("GET", "/tokens", {}, 405),
    ("GET", "/sightings", {"headers": {"Accept": "text/html"}}, 406),
    ("PUT", ID, body() | {"headers": {"Accept": "application/xml, application/json;q=0"}}, 406),
    ("PUT", ID, body() | {"headers": {"If-Match": '"1-1"'}}, 412),
    ("PUT", ID, body(notes="x" * 70_000), 413),
    ("PUT", ID, {"data": THRUSH}, 415),
    ("PUT", ID, {"content": json.dumps(THRUSH)}, 415),
    ("POST", "/users", {"content": b"{}", "headers": {"Content-Type": "text/plain"}}, 415),
]


@pytest.mark.parametrize(("method", "path", "options", "status"), STATUSES)
def test_status(anyone: Phone, method: str, path: str, options: dict[str, Any], status: int) -> None:
    assert anyone.call(method, path, **options).status_code == status


MISTAKES: list[tuple[str, str, dict[str, Any], list[str]]] = [
    ("PUT", ID, {"json": {}}, ["#/species", "#/seen_on"]),
    ("PUT", ID, {"json": []}, ["#"]),
    ("PUT", ID, {"json": None} | raw(b"null"), ["#"]),
    ("PUT", ID, body(spiecies="Wren"), ["#/spiecies"]),
    ("PUT", ID, body(**{"a/b~c é": 1}), ["#/a~1b~0c%20%C3%A9"]),
    ("PUT", ID, body(species=""), ["#/species"]),
    ("PUT", ID, body(species=" "), ["#/species"]),
    ("PUT", ID, body(species="Wren "), ["#/species"]),
    ("PUT", ID, body(species="Wren\n"), ["#/species"]),
    ("PUT", ID, body(species="x" * 81), ["#/species"]),
    ("PUT", ID, body(species=None), ["#/species"]),
    ("PUT", ID, body(notes="NUL \0"), ["#/notes"]),
    ("PUT", ID, body(notes="x" * 2001), ["#/notes"]),
    ("PUT", ID, body(seen_on="yesterday"), ["#/seen_on"]),
    ("PUT", ID, body(seen_on="2026-02-29"), ["#/seen_on"]),
    ("PUT", ID, body(seen_on=1_775_000_000), ["#/seen_on"]),
    ("PUT", ID, body(count=0), ["#/count"]),
    ("PUT", ID, body(count="2"), ["#/count"]),
    ("PUT", ID, body(count=2.5), ["#/count"]),
    ("PUT", ID, body(count=True), ["#/count"]),
    ("PUT", ID, body(count=10**30), ["#/count"]),
    ("PUT", ID, body(place={"latitude": 91, "longitude": "0"}), ["#/place/latitude", "#/place/longitude"]),
    ("PUT", ID, raw(b'{"species":"x","seen_on":"2026-01-01","place":{"latitude":NaN,"longitude":1e999}}'),
     ["#/place/latitude", "#/place/longitude"]),
    ("POST", "/users", {"json": {"name": "Ada", "password": "short"}}, ["#/name", "#/password"]),
    ("POST", "/tokens", {"json": {"name": "ada"}}, ["#/password"]),
    ("GET", "/sightings", {"params": {"limit": "0"}}, ["limit"]),
    ("GET", "/sightings", {"params": {"limit": "101"}}, ["limit"]),
    ("GET", "/sightings", {"params": {"limit": "many"}}, ["limit"]),
    ("GET", "/sightings", {"params": {"limit": ["1", "2"]}}, ["limit"]),
    ("GET", "/sightings", {"params": {"before": str(2**63)}}, ["before"]),
    ("GET", "/sightings", {"params": {"species": "\0"}}, ["species"]),
    ("GET", "/sightings", {"params": {"page": "2"}}, ["page"]),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path", "options", "places"), MISTAKES)
def test_mistakes(anyone: Phone, method: str, path: str, options: dict[str, Any], places: list[str]) -> None:
    response = anyone.call(method, path, **options)
    assert response.status_code == 422
    assert [each.get("pointer", each.get("parameter")) for each in response.json()["errors"]] == places


@pytest.mark.parametrize(
    "authorization", [None, "", "Bearer", "Bearer nonsense", "Basic YWRhOmFkYQ==", "Bearer é"]
)
def test_who_is_not_logged_in(address: str, authorization: str | None) -> None:
    headers = [] if authorization is None else [(b"Authorization", authorization.encode())]
    with Phone(address) as phone:
        # It is asked for first: what is wrong besides is nobody's business.
        response = phone.call("PUT", ID, content=b"{", headers=headers)
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == "Bearer realm=sightings"


def test_what_is_allowed_is_said(anyone: Phone) -> None:
    allowed = anyone.call("PATCH", ID).headers["Allow"]
    assert set(allowed.split(", ")) == {"GET", "HEAD", "OPTIONS", "PUT", "DELETE"}


def test_a_body_without_a_length_is_limited_as_well(anyone: Phone) -> None:
    response = anyone.call("PUT", ID, content=iter([b'{"notes":"', *[b"x" * 10_000] * 7]), headers=JSON)
    assert response.status_code == 413


def test_a_whole_number_is_one_however_it_is_written(anyone: Phone) -> None:
    assert anyone.keep(count=2.0).json()["count"] == 2
