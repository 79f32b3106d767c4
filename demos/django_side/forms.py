"""What comes in. Django's forms validate text, as HTML forms send it; JSON has types of its own.

So the shape is checked here, and only values of the right type are given to a form.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

from django import forms
from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest, QueryDict

from demos.django_side.models import WORDS, Sighting
from demos.django_side.problems import Mistake, Problem

NAME = r"^[a-z0-9][a-z0-9_-]*\Z"

Shape = Mapping[str, tuple[type, ...]]

CREDENTIALS: Shape = {"name": (str,), "password": (str,)}
SIGHTING: Shape = {
    "species": (str,),
    "seen_on": (str,),
    "count": (int,),
    "notes": (str,),
    "place": (dict, type(None)),
}
PLACE: Shape = {"latitude": (int, float), "longitude": (int, float)}
OPTIONAL = {"count", "notes", "place"}


class CredentialsForm(forms.Form):
    name = forms.RegexField(NAME, max_length=40, strip=False)
    password = forms.CharField(min_length=8, max_length=200, strip=False)


class SightingForm(forms.ModelForm):
    """Fields and their rules are the model's."""

    class Meta:
        model = Sighting
        fields = ("species", "seen_on", "count", "notes", "latitude", "longitude")

    seen_on = forms.DateField(input_formats=["%Y-%m-%d"])

    def __init__(self, data: Mapping[str, Any]) -> None:
        super().__init__(data)
        for name in ("species", "notes"):
            self.fields[name].strip = False  # what is kept is what was sent


class SightingsQuery(forms.Form):
    limit = forms.IntegerField(min_value=1, max_value=100, required=False)
    before = forms.IntegerField(min_value=1, max_value=2**63 - 1, required=False)
    species = forms.CharField(max_length=80, validators=[WORDS], strip=False, required=False)
    by = forms.RegexField(NAME, max_length=40, strip=False, required=False)


def read_query(query: QueryDict) -> dict[str, Any]:
    """The values of a query that are there; limit always is.

    Raises:
        Problem: 422.
    """
    form = SightingsQuery(query)
    mistakes = [
        Mistake(
            "this is not known here" if name not in form.fields else "one value is expected", parameter=name
        )
        for name, values in query.lists()
        if name not in form.fields or values != [values[0]] or not values[0]
    ]
    mistakes += [Mistake(" ".join(texts), parameter=name) for name, texts in form.errors.items()]
    if mistakes:
        raise invalid(mistakes)
    return {"limit": 20} | {
        name: value for name, value in form.cleaned_data.items() if value not in (None, "")
    }


def read_credentials(request: HttpRequest) -> tuple[str, str]:
    sent = read_json(request)
    mistakes = list(_mistakes_of_shape(sent, CREDENTIALS))
    form = CredentialsForm(_of_right_type(sent, CREDENTIALS))
    _check(form, mistakes)
    return form.cleaned_data["name"], form.cleaned_data["password"]


def read_sighting(request: HttpRequest) -> Sighting:
    """A sighting, not saved, and without its id and its user.

    Raises:
        Problem: 400, 413, 415 or 422.
    """
    sent = read_json(request)
    mistakes = list(_mistakes_of_shape(sent, SIGHTING))
    values = _of_right_type(sent, SIGHTING)
    place = values.pop("place", None)
    if place is not None:
        mistakes += _mistakes_of_shape(place, PLACE, "#/place")
        values |= _of_right_type(place, PLACE)
    if "seen_on" in values and not re.fullmatch(r"\d{4}-\d\d-\d\d", values["seen_on"]):
        mistakes.append(Mistake("a date is expected, as 2026-04-01", "#/seen_on"))
    form = SightingForm(values)
    _check(form, mistakes)
    return form.instance


def read_json(request: HttpRequest) -> Any:
    """The body of a request.

    Raises:
        Problem: it is too large (413), not said to be JSON (415), or not JSON (400).
    """
    if request.content_type != "application/json":
        raise Problem(
            415, f"The body must be application/json; it is {request.content_type or 'of no type'}."
        )
    try:
        body = request.body
    except RequestDataTooBig:
        raise Problem(413, "The body is too large.") from None
    try:
        sent = json.loads(body.decode(), parse_constant=_refuse)
        json.dumps(sent, ensure_ascii=False).encode()  # half a character, as "\ud800", cannot be kept
    except (ValueError, RecursionError) as error:
        raise Problem(400, f"The body is not JSON: {error}.") from None
    return sent


def invalid(mistakes: list[Mistake]) -> Problem:
    return Problem(422, "The request does not match the schema; see errors.", mistakes)


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _mistakes_of_shape(sent: Any, shape: Shape, where: str = "#") -> Iterator[Mistake]:
    if not isinstance(sent, dict):
        yield Mistake("an object is expected", where)
        return
    for name, value in sent.items():
        if name not in shape:
            yield Mistake("this is not known here", f"{where}/{_step(name)}")
        elif type(value) not in shape[name]:
            yield Mistake("this is of another type than expected", f"{where}/{name}")
    for name in shape.keys() - sent.keys() - OPTIONAL:
        yield Mistake("this is missing", f"{where}/{name}")


def _of_right_type(sent: Any, shape: Shape) -> dict[str, Any]:
    if not isinstance(sent, dict):
        return {}
    return {name: value for name, value in sent.items() if name in shape and type(value) in shape[name]}


def _check(form: forms.BaseForm, mistakes: list[Mistake]) -> None:
    """Raise a problem with the mistakes there are already, and those that the form finds beside them."""
    known = {mistake.pointer for mistake in mistakes}
    for name, texts in form.errors.items():
        pointer = f"#/place/{name}" if name in PLACE else f"#/{name}"
        if pointer not in known and "#" not in known:
            mistakes.append(Mistake(" ".join(texts), pointer))
    if mistakes:
        raise invalid(mistakes)


def _step(name: str) -> str:
    return quote(name.replace("~", "~0").replace("/", "~1"), safe="~")
