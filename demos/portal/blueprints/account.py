"""Sign up, log in, log out, another password."""

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask_wtf import FlaskForm
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from werkzeug.wrappers import Response

from demos.portal.blueprints.fields import email_address, line, new_password, password
from demos.portal.extensions import db
from demos.portal.models import Member, Role
from demos.portal.models.member import has_password
from demos.portal.security import allow, begin_session, current_member, end_session, own_address, public

blueprint = Blueprint("account", __name__)


class LogInForm(FlaskForm):
    email = email_address()
    password = password("Password")


class SignUpForm(FlaskForm):
    name = line("Your name", 2, 80, autocomplete="name")
    email = email_address()
    password = new_password("Password")


class PasswordForm(FlaskForm):
    current = password("Current password")
    new = new_password("New password")


@blueprint.route("/login", methods=["GET", "POST"])
@public
def log_in() -> str | Response | tuple[str, int]:
    form = LogInForm(email=request.args.get("email"))  # as the front page links to it
    if not form.validate_on_submit():
        return render_template("account/log_in.html", form=form), 400 if form.errors else 200
    member = db.session.scalar(select(Member).where(Member.email == form.email.data))
    if not has_password(member, form.password.data):
        flash("The e-mail address or the password is wrong.", "error")
        return render_template("account/log_in.html", form=form), 401
    begin_session(member)
    return redirect(own_address(request.args.get("next")))


@blueprint.route("/signup", methods=["GET", "POST"])
@public
def sign_up() -> str | Response | tuple[str, int]:
    form = SignUpForm()
    if not form.validate_on_submit():
        return render_template("account/sign_up.html", form=form), 400 if form.errors else 200
    member = Member(name=form.name.data, email=form.email.data)
    member.set_password(form.password.data)
    db.session.add(member)
    try:
        db.session.commit()
    except IntegrityError:  # there is one with this address; who asks is not told so
        db.session.rollback()
    flash("Thank you. If the address was new to us, you can now log in.")
    return redirect(url_for("account.log_in"))


@blueprint.post("/logout")
@allow(Role.MEMBER)
def log_out() -> Response:
    end_session(current_member())
    flash("You are logged out on all devices.")
    return redirect(url_for("pages.index"))


@blueprint.route("/password", methods=["GET", "POST"])
@allow(Role.MEMBER)
def change_password() -> str | Response | tuple[str, int]:
    form = PasswordForm()
    if not form.validate_on_submit():
        return render_template("account/password.html", form=form), 400 if form.errors else 200
    member = current_member()
    if not has_password(member, form.current.data):
        flash("The current password is wrong.", "error")
        return render_template("account/password.html", form=form), 400
    member.set_password(form.new.data)
    member.end_sessions()
    db.session.commit()
    begin_session(member)
    flash("The password is changed. Other browsers are logged out.")
    return redirect(url_for("pages.index"))
