"""The form: its fields, and what they accept."""

from flask_wtf import FlaskForm
from wtforms import StringField, TextAreaField
from wtforms.validators import DataRequired, Length


def tidy(text: str | None) -> str:
    """Browsers end lines with two characters, and people type spaces at the end."""
    return "\n".join((text or "").splitlines()).strip()


class EntryForm(FlaskForm):
    """What a visitor writes."""

    name = StringField("Your name", filters=[tidy], validators=[DataRequired(), Length(max=40)])
    text = TextAreaField(
        "Your entry", filters=[tidy], validators=[DataRequired(), Length(max=500)], render_kw={"rows": 3}
    )
