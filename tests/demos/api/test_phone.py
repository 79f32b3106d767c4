"""What a phone does with the API, in a real server on each database."""

import contextlib
import http.client
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.demos.api.phone import PASSWORD, Phone

JSON = ("Content-Type", "application/json")

pytestmark = pytest.mark.timeout(60)  # the first has to wait for PostgreSQL


@pytest.fixture
def other(address: str) -> Any:
    """The phone of someone else."""
    with Phone(address) as other:
        other.sign_up()
        other.log_in()
        yield other


def test_a_day_of_a_bird_watcher(phone: Phone) -> None:
    path = f"/sightings/{uuid.uuid4()}"
    kept = phone.keep(path, count=2, place={"latitude": 51.48, "longitude": 0})
    assert kept.status_code == 201
    assert kept.headers["Location"] == path
    assert kept.json() == {
        "id": path.rpartition("/")[2],
        "number": kept.json()["number"],
        "by": phone.name,
        "species": "Song thrush",
        "seen_on": "2026-04-01",
        "count": 2,
        "notes": "",
        "place": {"latitude": 51.48, "longitude": 0.0},
    }
    seen = phone.call("GET", path)
    assert (seen.status_code, seen.json(), seen.headers["ETag"]) == (200, kept.json(), kept.headers["ETag"])
    changed = phone.keep(path, notes="Łódź 🐦", headers={"If-Match": seen.headers["ETag"]})
    assert (changed.status_code, changed.json()["notes"], changed.json()["place"]) == (200, "Łódź 🐦", None)
    assert phone.call("GET", path).json() == changed.json()
    gone = phone.call("DELETE", path, headers={"If-Match": changed.headers["ETag"]})
    assert (gone.status_code, gone.content) == (204, b"")
    assert phone.call("GET", path).status_code == 404


def test_a_request_whose_answer_was_lost_is_repeated(phone: Phone) -> None:
    path = f"/sightings/{uuid.uuid4()}"
    first, second = phone.keep(path), phone.keep(path)
    assert (first.status_code, second.status_code) == (201, 200)
    assert (first.json(), first.headers["ETag"]) == (second.json(), second.headers["ETag"])


def test_what_is_known_is_not_sent_again(phone: Phone) -> None:
    path = f"/sightings/{uuid.uuid4()}"
    etag = phone.keep(path).headers["ETag"]
    known = phone.call("GET", path, headers={"If-None-Match": etag})
    assert (known.status_code, known.content, known.headers["ETag"]) == (304, b"", etag)
    phone.keep(path, count=3, headers={"If-Match": etag})
    assert phone.call("GET", path, headers={"If-None-Match": etag}).status_code == 200


def test_no_update_is_lost(phone: Phone) -> None:
    path = f"/sightings/{uuid.uuid4()}"
    etag = phone.keep(path).headers["ETag"]
    assert phone.keep(path, count=2).status_code == 428
    assert phone.keep(path, count=2, headers={"If-Match": etag}).status_code == 200
    assert phone.keep(path, count=3, headers={"If-Match": etag}).status_code == 412
    assert phone.call("DELETE", path, headers={"If-Match": etag}).status_code == 412
    assert phone.call("GET", path).json()["count"] == 2
    # One that was made anew under the same id is another one.
    assert phone.call("DELETE", path).status_code == 204
    assert phone.keep(path, headers={"If-Match": etag}).status_code == 412
    assert phone.keep(path).status_code == 201
    assert phone.keep(path, count=3, headers={"If-Match": etag}).status_code == 412


def test_all_may_see_it_and_one_may_change_it(phone: Phone, other: Phone) -> None:
    path = f"/sightings/{uuid.uuid4()}"
    phone.keep(path)
    assert other.call("GET", path).json()["by"] == phone.name
    assert other.keep(path).status_code == 403
    assert other.call("DELETE", path).status_code == 403
    assert other.call("DELETE", f"/tokens/{phone.token_id}").status_code == 404
    assert phone.call("GET", path).status_code == 200


def test_one_device_is_logged_out_and_not_another(phone: Phone) -> None:
    lost, lost_id = phone.log_in(), phone.token_id
    phone.log_in()
    assert phone.call("DELETE", f"/tokens/{lost_id}").status_code == 204
    assert phone.call("DELETE", f"/tokens/{lost_id}").status_code == 404
    refused = phone.call("GET", "/sightings", headers={"Authorization": f"Bearer {lost}"})
    assert (refused.status_code, refused.headers["WWW-Authenticate"]) == (401, "Bearer realm=sightings")
    assert phone.call("GET", "/sightings").status_code == 200


def test_a_name_is_given_once(phone: Phone) -> None:
    assert phone.call("POST", "/users", json=phone.credentials()).status_code == 409


def test_nobody_learns_who_is_a_user(phone: Phone) -> None:
    answers = [
        phone.call("POST", "/tokens", json={"name": name, "password": "wrong horse"})
        for name in (phone.name, "nobody-at-all")
    ]
    assert [answer.status_code for answer in answers] == [401, 401]
    assert answers[0].json() == answers[1].json()


def test_passwords_cannot_be_tried_for_ever(phone: Phone) -> None:
    wrong = phone.credentials() | {"password": "wrong horse"}
    tries = [phone.call("POST", "/tokens", json=wrong).status_code for _ in range(11)]
    assert tries == [401] * 10 + [429]
    limited = phone.call("POST", "/tokens", json=phone.credentials())
    assert (limited.status_code, limited.headers["Retry-After"]) == (429, "900")
    unknown = {"name": f"{phone.name}-2", "password": PASSWORD}
    assert phone.call("POST", "/tokens", json=unknown).status_code == 401


def test_pages_are_whole_while_others_write(phone: Phone) -> None:
    kept = [phone.keep().json()["id"] for _ in range(7)]
    seen: list[str] = []
    following: str | None = f"/sightings?limit=3&by={phone.name}&species=Song+thrush"
    while following:
        page = phone.call("GET", following).json()
        assert len(page["items"]) <= 3
        seen += [sighting["id"] for sighting in page["items"]]
        following = page["next"]
        phone.keep()  # another comes in front
        phone.call("DELETE", f"/sightings/{seen[-1]}")  # and where this page ends, one goes away
    assert seen == kept[::-1]


def test_the_last_page_says_that_it_is_the_last(phone: Phone) -> None:
    for number in range(4):
        phone.keep(species="Wren" if number % 2 else "Robin")
    page = phone.call("GET", "/sightings", params={"by": phone.name, "limit": 4}).json()
    assert ([each["species"] for each in page["items"]], page["next"]) == (["Wren", "Robin"] * 2, None)
    robins = phone.call("GET", "/sightings", params={"by": phone.name, "species": "Robin"}).json()
    assert [each["species"] for each in robins["items"]] == ["Robin"] * 2


def test_who_sends_slowly_keeps_no_other_waiting(anyone: Phone, address: str, token: str) -> None:
    """Ten connections to the database there are; a client that lets wait for its body holds none."""
    with contextlib.ExitStack() as stack:
        for _ in range(11):
            slow = stack.enter_context(
                contextlib.closing(http.client.HTTPConnection(address.partition("//")[2]))
            )
            slow.putrequest("PUT", f"/sightings/{uuid.uuid4()}")
            for name, value in (("Authorization", f"Bearer {token}"), ("Content-Length", "10"), JSON):
                slow.putheader(name, value)
            slow.endheaders(b"{")
        assert anyone.call("GET", "/sightings").status_code == 200


def at_once(number: int, call: Any) -> list[httpx.Response]:
    with ThreadPoolExecutor(number) as threads:
        return list(threads.map(call, range(number)))


def test_of_those_who_create_it_at_once_one_does(phone: Phone) -> None:
    path = f"/sightings/{uuid.uuid4()}"
    statuses = [answer.status_code for answer in at_once(8, lambda _: phone.keep(path))]
    assert statuses.count(201) == 1
    assert set(statuses) <= {200, 201, 409}


def test_of_those_who_change_it_at_once_one_does(phone: Phone) -> None:
    path = f"/sightings/{uuid.uuid4()}"
    etag = phone.keep(path).headers["ETag"]
    answers = at_once(8, lambda number: phone.keep(path, count=number + 2, headers={"If-Match": etag}))
    statuses = sorted(answer.status_code for answer in answers)
    assert statuses == [200] + [412] * 7
    changed = next(answer for answer in answers if answer.status_code == 200)
    assert phone.call("GET", path).json() == changed.json()
