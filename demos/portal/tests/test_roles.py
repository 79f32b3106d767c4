"""Who may open what; and what admins do."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask

from demos.portal import security
from demos.portal.tests.conftest import Visitor

Visit = Callable[[str], Visitor]

NAMES = ("", "mia", "sam", "ada")  # nobody, a member, a steward, an admin

PAGES = {
    "/": (200, 200, 200, 200),
    "/account/login": (200, 200, 200, 200),
    "/account/password": (302, 200, 200, 200),
    "/bookings/": (302, 200, 200, 200),
    "/bookings/new": (302, 200, 200, 200),
    "/bookings/requests": (302, 403, 200, 200),
    "/reports/": (302, 200, 200, 200),
    "/admin/members": (302, 403, 403, 200),
    "/admin/jobs": (302, 403, 403, 200),
    "/nowhere": (404, 404, 404, 404),
}
FORMS = {
    "/bookings/99/approve": (302, 403, 404, 404),
    "/bookings/99/cancel": (302, 404, 404, 404),
    "/admin/members/99": (302, 403, 403, 404),
    "/admin/jobs/99/retry": (302, 403, 403, 404),
    "/admin/reminders": (302, 403, 403, 302),
    "/account/logout": (302, 302, 302, 302),
}


@pytest.mark.parametrize("name", NAMES)
def test_who_may_what(visit: Visit, name: str) -> None:
    place = NAMES.index(name)
    visitor = visit(name)
    assert {path: visitor.get(path).status_code for path in PAGES} == {
        path: statuses[place] for path, statuses in PAGES.items()
    }
    assert {path: visitor.post(path).status_code for path in FORMS} == {
        path: statuses[place] for path, statuses in FORMS.items()
    }


def test_a_view_that_does_not_say_for_whom_it_is_is_an_error() -> None:
    app = Flask("one view")
    app.add_url_rule("/more", "more", lambda: "")
    with pytest.raises(RuntimeError, match="the view 'more' must say for whom it is"):
        security.register(app)


@pytest.mark.parametrize(
    ("form", "status", "then"),
    [
        ({"m1-role": "steward", "m1-is_active": "y"}, 302, 200),
        ({"m1-role": "member", "m1-is_active": "y"}, 302, 403),
        ({"m1-role": "member"}, 302, 302),  # may not log in, and is logged out
        ({"m1-role": "king", "m1-is_active": "y"}, 400, 403),
        ({}, 400, 403),
    ],
)
def test_an_admin_changes_a_member(visit: Visit, form: dict[str, Any], status: int, then: int) -> None:
    mia, admin = visit("mia"), visit("ada")
    assert admin.post("/admin/members/1", **form).status_code == status
    assert mia.get("/bookings/requests").status_code == then


def test_who_may_not_log_in_cannot(visit: Visit) -> None:
    visit("ada").post("/admin/members/1", **{"m1-role": "member"})
    assert visit("").log_in("mia").status_code == 401


def test_there_is_always_an_admin(visit: Visit) -> None:
    admin = visit("ada")
    answer = admin.post("/admin/members/4", **{"m4-role": "member"})
    assert answer.status_code == 409
    assert admin.get("/admin/members").status_code == 200


def test_a_page_under_a_prefix_has_addresses_under_it(app: Flask) -> None:
    client = app.test_client()
    mounted = "http://localhost/club/portal/"
    answer = client.get("/bookings/", base_url=mounted)
    assert answer.location == "/club/portal/account/login?next=/club/portal/bookings/"
    page = client.get("/account/login", base_url=mounted).text
    addresses = re.findall('(?:href|src|action)="([^"#]+)"', page)
    assert len(addresses) > 4
    assert all(address.startswith("/club/portal/") for address in addresses)
