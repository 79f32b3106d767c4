"""Who may do what.

Every view says for whom it is, by `@public` or `@allow(Role.STEWARD)`; a hook before each request holds it to
that. A view that says nothing is an error when the app is made: what is forgotten is closed, not open.
Which bookings or jobs somebody may see is said by the models: `Booking.visible_to(member)`.
"""

import re
from collections.abc import Callable
from typing import TypeVar, cast
from urllib.parse import urlsplit

from flask import Flask, Response, abort, current_app, flash, redirect, request, session, url_for
from flask_login import current_user, login_user, logout_user
from sqlalchemy import select
from werkzeug.wrappers import Response as WerkzeugResponse

from bridge.flask import any_thread
from demos.portal.extensions import db, login
from demos.portal.models import Member, Role

_View = TypeVar("_View", bound=Callable[..., object])

_ALLOWS = "portal_allows"
_PUBLIC = None

# One slash, and neither another, which would name a host, nor what browsers take for one, or drop.
_OWN_PATH = re.compile(r"/(?![/\\])[^\\\x00-\x20\x7f]*")


def public(view: _View) -> _View:
    """Decorate a view that is for everybody."""
    setattr(view, _ALLOWS, _PUBLIC)
    return view


def allow(role: Role) -> Callable[[_View], _View]:
    """Decorate a view that is for those who have this role, or one that includes it."""

    def decorate(view: _View) -> _View:
        setattr(view, _ALLOWS, role)
        return view

    return decorate


def register(app: Flask) -> None:
    """Hold all views of an app to what they say.

    Raises:
        RuntimeError: one says nothing.
    """
    public(app.view_functions["static"])
    for endpoint, view in app.view_functions.items():
        if not hasattr(view, _ALLOWS):
            raise RuntimeError(f"the view {endpoint!r} must say for whom it is: @public or @allow(Role.…)")
    login.session_protection = None  # by address and browser, both of which change on a phone
    app.before_request(_guard)
    app.after_request(_add_headers)


@any_thread
def _guard() -> WerkzeugResponse | None:
    """A plain function: before an async view it runs in a thread, and the database holds up nobody.

    In any thread: the database's session belongs to the app context, as Flask-SQLAlchemy has it.
    """
    view = current_app.view_functions.get(request.endpoint or "")
    needed: Role | None = getattr(view, _ALLOWS, _PUBLIC)  # there is no view where there is no such page
    if needed is None:
        return None
    if not current_user.is_authenticated:
        flash("Please log in first.")
        here = urlsplit(request.url)
        wanted = f"{here.path}?{here.query}" if here.query else here.path
        return redirect(url_for("account.log_in", next=wanted if request.method == "GET" else None))
    if not current_member().may(needed):
        abort(403, f"This page needs the role {needed} or a higher one.")
    return None


@login.user_loader  # type: ignore[untyped-decorator]  # Flask-Login has no types
def _load(session_token: str) -> Member | None:
    member = select(Member).where(Member.session_token == session_token, Member.is_active)
    return db.session.scalar(member)


def current_member() -> Member:
    """Who is logged in; only for views that are not public."""
    return cast(Member, current_user._get_current_object())


def begin_session(member: Member) -> None:
    """Log a member in, in a session that has nothing of the one before."""
    session.clear()
    session.permanent = True
    login_user(member)


def end_session(member: Member) -> None:
    """Log a member out, everywhere: a copy of the cookie is void, too."""
    member.end_sessions()
    db.session.commit()
    logout_user()
    session.clear()


def own_address(address: str | None) -> str:
    """Where to go after the log-in: an address within this app, whatever was asked for."""
    prefix = f"{request.script_root}/"
    if address and address.startswith(prefix) and _OWN_PATH.fullmatch(address):
        return address
    return url_for("pages.index")


@any_thread
def _add_headers(response: Response) -> Response:
    response.headers.setdefault("Content-Security-Policy", "default-src 'self'; frame-ancestors 'self'")
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    response.headers.setdefault("Referrer-Policy", "same-origin")
    if request.endpoint != "static":
        response.headers.setdefault("Cache-Control", "no-store")  # or "back" shows it after the log-out
    return response
