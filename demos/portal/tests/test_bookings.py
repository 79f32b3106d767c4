"""Booking boats, and deciding on it."""

from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import pytest
from flask import Flask

from demos.portal.models import BookingStatus
from demos.portal.tests.conftest import TOMORROW, Visitor, add_booking, status_of

Visit = Callable[[str], Visitor]

FORM = {"boat": 1, "day": TOMORROW.isoformat(), "time_of_day": "morning", "note": "a <b>calm</b> day"}


def test_a_member_books_and_a_steward_approves(visit: Visit) -> None:
    member, steward = visit("mia"), visit("sam")
    assert member.post("/bookings/new", **FORM).status_code == 302
    assert "requested" in member.get("/bookings/").text
    assert "a &lt;b&gt;calm&lt;/b&gt; day" in steward.get("/bookings/requests").text
    assert steward.post("/bookings/1/approve").status_code == 302
    assert "approved" in member.get("/bookings/").text
    assert "No open requests." in steward.get("/bookings/requests").text


@pytest.mark.parametrize(
    "wrong",
    [
        {"boat": 99},
        {"boat": "x"},
        {"boat": 10**30},
        {"day": "yesterday"},
        {"day": (date.today() - timedelta(days=1)).isoformat()},
        {"day": (date.today() + timedelta(days=61)).isoformat()},
        {"day": ""},
        {"time_of_day": "midnight"},
        {"note": "x" * 201},
        {"note": "a\0b"},
    ],
    ids=str,
)
def test_ill_input_is_a_400_that_says_what_is_wrong(visit: Visit, wrong: dict[str, Any]) -> None:
    answer = visit("mia").post("/bookings/new", **(FORM | wrong))
    assert answer.status_code == 400
    assert 'class="wrong"' in answer.text


def test_a_boat_that_is_taken_cannot_be_booked(app: Flask, visit: Visit) -> None:
    add_booking(app, "max", status=BookingStatus.APPROVED)
    answer = visit("mia").post("/bookings/new", **FORM)
    assert answer.status_code == 409
    assert "Somebody else has this boat at that time" in answer.text


def test_a_boat_is_not_approved_twice_for_the_same_time(app: Flask, visit: Visit, booking: int) -> None:
    other = add_booking(app, "max")
    steward = visit("sam")
    assert steward.post(f"/bookings/{booking}/approve").status_code == 302
    answer = steward.post(f"/bookings/{other}/approve")
    assert answer.status_code == 409
    assert "Another booking has this boat at that time" in answer.text
    assert status_of(app, other) == BookingStatus.REQUESTED
    assert steward.post(f"/bookings/{other}/refuse").status_code == 302
    assert steward.post(f"/bookings/{other}/approve").status_code == 409


def test_members_see_and_change_their_own_only(app: Flask, visit: Visit, booking: int) -> None:
    other = visit("max")
    assert "Heron" not in other.get("/bookings/").text
    assert other.post(f"/bookings/{booking}/cancel").status_code == 404
    assert visit("sam").post(f"/bookings/{booking}/cancel").status_code == 403
    assert status_of(app, booking) == BookingStatus.REQUESTED
    assert visit("mia").post(f"/bookings/{booking}/cancel").status_code == 302
    assert status_of(app, booking) == BookingStatus.CANCELLED


def test_what_is_over_cannot_be_cancelled(app: Flask, visit: Visit) -> None:
    past = add_booking(app, "mia", day=date.today() - timedelta(days=1))
    assert visit("mia").post(f"/bookings/{past}/cancel").status_code == 409


@pytest.mark.parametrize("page", ["0", "-1", "x", "9" * 30])
def test_pages_that_are_not_there(visit: Visit, page: str) -> None:
    assert visit("mia").get(f"/bookings/?page={page}").status_code in (200, 404)


@pytest.mark.parametrize("number", ["0", "99", "9" * 30])
def test_bookings_that_are_not_there(visit: Visit, number: str) -> None:
    assert visit("sam").post(f"/bookings/{number}/approve").status_code == 404
