"""Fields that forms share, and what they hold input to."""

import re
from typing import Any

from wtforms import Field, Form, PasswordField, StringField
from wtforms.validators import Length, ValidationError

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_EMAIL = re.compile(r"[^@\s]+@[^@\s.]+(\.[^@\s.]+)+")

MIN_PASSWORD = 12


def line(label: str, least: int, most: int, **render: Any) -> StringField:
    """A line of text, without spaces around it."""
    return StringField(
        label,
        filters=[_strip],
        validators=[Length(least, most, f"Use {least} to {most} characters."), _is_plain],
        render_kw={"required": least > 0, "maxlength": most, **render},
    )


def email_address() -> StringField:
    """An address, in lower case, so that there is one account for it."""
    return StringField(
        "E-mail",
        filters=[_strip, lambda text: text.lower() if text else text],
        validators=[_is_email],
        render_kw={"type": "email", "autocomplete": "username", "required": True, "maxlength": 254},
    )


def new_password(label: str) -> PasswordField:
    """A password that is to be kept."""
    said = f"Use {MIN_PASSWORD} to 200 characters; a few words work well."
    return PasswordField(
        label,
        validators=[Length(MIN_PASSWORD, 200, said)],
        description=f"At least {MIN_PASSWORD} characters; a few words work well.",
        render_kw={"autocomplete": "new-password", "required": True, "minlength": MIN_PASSWORD},
    )


def password(label: str) -> PasswordField:
    """A password that is to be right."""
    return PasswordField(
        label,
        validators=[Length(1, 200, "Type your password.")],
        render_kw={"autocomplete": "current-password", "required": True},
    )


def _strip(text: str | None) -> str | None:
    return text.strip() if text else text


def _is_plain(form: Form, field: Field) -> None:
    if _CONTROL.search(field.data or ""):
        raise ValidationError("Use one line of letters, digits and punctuation.")


def _is_email(form: Form, field: Field) -> None:
    address = field.data or ""
    if not _EMAIL.fullmatch(address) or _CONTROL.search(address) or len(address) > 254:
        raise ValidationError("Use an e-mail address, as in name@example.org.")
