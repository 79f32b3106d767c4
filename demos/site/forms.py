"""The form that announces an event: what its fields are, and what is wrong with what was sent."""

import unicodedata
from datetime import datetime, timedelta

from flask_babel import gettext, lazy_gettext
from flask_wtf import FlaskForm
from wtforms import DateTimeLocalField, StringField, TextAreaField, ValidationError
from wtforms.validators import InputRequired, Length

from demos.site.events import TIMEZONE


def _clean(text: str | None) -> str:
    """Text without spaces around it, and without characters that nobody sees."""
    lines = (text or "").splitlines()
    return "\n".join(
        "".join(each for each in line if unicodedata.category(each) != "Cc") for line in lines
    ).strip()


class EventForm(FlaskForm):
    """Flask-WTF adds a hidden field, the token that only this site's own pages have (CSRF)."""

    title = StringField(
        lazy_gettext("What is it?"), filters=[_clean], validators=[InputRequired(), Length(min=3, max=80)]
    )
    place = StringField(
        lazy_gettext("Where is it?"), filters=[_clean], validators=[InputRequired(), Length(min=2, max=60)]
    )
    starts = DateTimeLocalField(
        lazy_gettext("When does it start?"), format=["%Y-%m-%dT%H:%M"], validators=[InputRequired()]
    )
    text = TextAreaField(
        lazy_gettext("What should people know?"),
        filters=[_clean],
        validators=[InputRequired(), Length(min=10, max=2000)],
        render_kw={"rows": 6},
    )

    def validate_starts(self, field: DateTimeLocalField) -> None:
        """WTForms calls this for the field of that name."""
        if field.data is None:
            return  # it was no time at all, which is said already
        here = datetime.now(TIMEZONE).replace(tzinfo=None)
        if not here <= field.data <= here + timedelta(days=730):
            raise ValidationError(gettext("Choose a time in the next two years."))

    def moment(self) -> datetime:
        """When it starts: what was typed is the library's own time."""
        starts: datetime = self.starts.data
        return starts.replace(tzinfo=TIMEZONE)
