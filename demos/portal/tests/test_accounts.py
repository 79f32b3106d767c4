"""Signing up, logging in and out, and what a form is held to."""

from collections.abc import Callable

import pytest
from flask import Flask

from demos.portal.tests.conftest import PASSWORD, Visitor

Visit = Callable[[str], Visitor]


def test_sign_up_and_log_in(visit: Visit) -> None:
    visitor = visit("")
    form = {"name": "Nell", "email": " Nell@Club.example ", "password": "a long enough one"}
    assert visitor.post("/account/signup", **form).headers["Location"] == "/account/login"
    assert visitor.log_in("nell", "a long enough one").headers["Location"] == "/"
    assert "Hello, Nell" in visitor.get("/").text


def test_who_signs_up_does_not_learn_whose_addresses_are_known(visit: Visit) -> None:
    form = {"name": "Nell", "password": "a long enough one"}
    known = visit("").post("/account/signup", email="mia@club.example", **form)
    new = visit("").post("/account/signup", email="nell@club.example", **form)
    assert (known.status_code, known.headers["Location"]) == (new.status_code, new.headers["Location"])
    assert visit("").log_in("mia", "a long enough one").status_code == 401


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("password", "short", "Use 12 to 200 characters"),
        ("password", "x" * 201, "Use 12 to 200 characters"),
        ("email", "nobody", "Use an e-mail address"),
        ("email", f"{'x' * 250}@club.example", "Use an e-mail address"),
        ("email", "a\0@club.example", "Use an e-mail address"),
        ("name", " x ", "Use 2 to 80 characters"),
        ("name", "a\0b", "one line of letters"),
    ],
)
def test_what_is_wrong_with_a_sign_up_is_said(visit: Visit, field: str, value: str, said: str) -> None:
    form = {"name": "Nell", "email": "nell@club.example", "password": "a long enough one"} | {field: value}
    answer = visit("").post("/account/signup", **form)
    assert answer.status_code == 400
    assert said in answer.text


def test_a_wrong_password_and_an_unknown_name_get_the_same_answer(visit: Visit) -> None:
    wrong, unknown = visit("").log_in("mia", "wrong"), visit("").log_in("nobody", "wrong")
    assert wrong.status_code == unknown.status_code == 401
    for answer in (wrong, unknown):
        assert "The e-mail address or the password is wrong." in answer.text


@pytest.mark.parametrize(
    ("wanted", "goes_to"),
    [
        ("/bookings/new?x=1", "/bookings/new?x=1"),
        ("https://evil.example/", "/"),
        ("//evil.example/", "/"),
        (r"/\evil.example/", "/"),
        ("/\t/evil.example/", "/"),
        ("javascript:alert(1)", "/"),
        ("", "/"),
    ],
)
def test_the_log_in_leads_nowhere_else(app: Flask, wanted: str, goes_to: str) -> None:
    visitor = Visitor(app)
    query = {"next": wanted}
    form = {"email": "mia@club.example", "password": PASSWORD, "csrf_token": visitor.token()}
    answer = visitor.client.post("/account/login", query_string=query, data=form)
    assert answer.headers["Location"] == goes_to


def test_a_page_that_needs_a_log_in_comes_after_it(visit: Visit) -> None:
    answer = visit("").get("/bookings/?page=1")
    assert answer.headers["Location"] == "/account/login?next=/bookings/?page%3D1"


def test_a_log_in_takes_nothing_over_from_the_session_before(app: Flask) -> None:
    visitor = Visitor(app)
    with visitor.client.session_transaction() as session:
        session["planted"] = "by somebody else"
    visitor.log_in("mia")
    with visitor.client.session_transaction() as session:
        assert "planted" not in session


def test_a_log_out_makes_copies_of_the_cookie_void(app: Flask, visit: Visit) -> None:
    visitor = visit("mia")
    cookie = visitor.client.get_cookie("portal_session")
    assert cookie is not None
    thief = Visitor(app)
    thief.client.set_cookie("portal_session", cookie.value)
    assert thief.get("/bookings/").status_code == 200
    assert visitor.post("/account/logout").status_code == 302
    assert thief.get("/bookings/").status_code == visitor.get("/bookings/").status_code == 302


def test_a_new_password_logs_other_browsers_out(visit: Visit) -> None:
    here, there = visit("mia"), visit("mia")
    assert here.post("/account/password", current="wrong", new="another long one").status_code == 400
    assert here.post("/account/password", current=PASSWORD, new="another long one").status_code == 302
    assert here.get("/bookings/").status_code == 200
    assert there.get("/bookings/").status_code == 302
    assert visit("").log_in("mia", "another long one").status_code == 302


@pytest.mark.parametrize("path", ["/account/login", "/account/signup", "/account/logout", "/bookings/new"])
def test_no_form_is_taken_without_its_token(visit: Visit, path: str) -> None:
    answer = visit("mia").client.post(path, data={"email": "mia@club.example", "password": PASSWORD})
    assert answer.status_code == 400
    assert "This form has expired" in answer.text


def test_the_cookie_is_not_for_scripts_nor_for_other_sites(visit: Visit) -> None:
    answer = visit("").log_in("mia")
    assert "HttpOnly" in answer.headers["Set-Cookie"]
    assert "SameSite=Lax" in answer.headers["Set-Cookie"]
