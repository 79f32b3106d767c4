"""What each layer costs: the same page, with one layer more at a time, in process and served.

The cost of a layer is the CPU time a request takes with it, less the time without it, round by round.
"""

from dataclasses import dataclass
from statistics import median
from typing import Literal, TypeAlias

from benchmarks.results import Round, Sample

__all__ = ["LAYERS", "STEPS", "Bar", "Layer", "Place", "Step", "bars", "contender", "increments"]

Layer: TypeAlias = Literal["server", "bridge", "Werkzeug", "Flask", "async", "Jinja2", "view"]
Place: TypeAlias = Literal["served", "in process"]

LAYERS: tuple[Layer, ...] = ("server", "bridge", "Werkzeug", "Flask", "async", "Jinja2", "view")
"""From the outside in; what `async` stands for is the running of the view's coroutine."""


@dataclass(frozen=True)
class Step:
    """The page with one layer more.

    Args:
        name: of the app, in `benchmarks.apps.layers`.
        title: in words.
        layer: what has come with it.
        before: the step it is compared with; None for the first.
    """

    name: str
    title: str
    layer: Layer
    before: str | None


STEPS: tuple[Step, ...] = (
    Step("asgi", "ASGI app", "server", None),
    Step("wsgi", "WSGI callable", "bridge", "asgi"),
    Step("response", "+ Werkzeug's Response", "Werkzeug", "wsgi"),
    Step("request", "+ its Request", "Werkzeug", "response"),
    Step("routing", "+ its routing", "Werkzeug", "request"),
    Step("flask_layer", "in Flask", "Flask", "routing"),
    Step("session", "+ a session", "Flask", "flask_layer"),
    Step("jinja", "+ a Jinja2 template", "Jinja2", "session"),
    Step("async_flask_layer", "in Flask, async def", "async", "flask_layer"),
    Step("async_session", "+ a session, async def", "Flask", "async_flask_layer"),
    Step("async_jinja", "+ a template, async def", "Jinja2", "async_session"),
)

_WAYS: dict[str, tuple[str, ...]] = {
    "sync view": ("response", "request", "routing", "flask_layer", "session", "jinja"),
    "async view": (
        "response",
        "request",
        "routing",
        "flask_layer",
        "async_flask_layer",
        "async_session",
        "async_jinja",
    ),
}
"""The steps whose increments add up to the whole page, beyond the WSGI callable."""


@dataclass(frozen=True)
class Bar:
    """One stacked bar: CPU microseconds a request, by layer; layers that have no part in it are left out."""

    title: str
    parts: dict[Layer, float]


def contender(place: Place, step: str) -> str:
    """The name under which a round has a step."""
    return f"{place}: {step}"


def increments(rounds: list[Round], place: Place, step: Step) -> list[float]:
    """What a step takes beyond the one before, in CPU microseconds a request, round by round.

    Of the first, all that it takes. In process there is neither server nor bridge, and the WSGI callable is
    the first. Rounds in which one of the two failed are left out.
    """
    found = []
    for samples in rounds:
        with_it = samples[contender(place, step.name)]
        without = _before(samples, place, step)
        if with_it.failure is None and without.failure is None:
            found.append(with_it.cpu_us_per_request - without.cpu_us_per_request)
    return found


def _before(samples: Round, place: Place, step: Step) -> Sample:
    if step.before is None or (place == "in process" and step.name == "wsgi"):
        return Sample()
    return samples[contender(place, step.before)]


def bars(rounds: list[Round]) -> list[Bar]:
    """The four bars: sync and async view, served and in process."""
    steps = {step.name: step for step in STEPS}
    view = _cost(rounds, "in process", steps["wsgi"])
    found = []
    for place in _PLACES:
        for way, names in _WAYS.items():
            parts: dict[Layer, float] = dict.fromkeys(LAYERS, 0.0)
            parts["view"] = view
            if place == "served":
                parts["server"] = _cost(rounds, place, steps["asgi"]) - view
                parts["bridge"] = _cost(rounds, place, steps["wsgi"])
            for name in names:
                parts[steps[name].layer] += _cost(rounds, place, steps[name])
            found.append(Bar(f"{way}, {place}", {layer: part for layer, part in parts.items() if part}))
    return found


def _cost(rounds: list[Round], place: Place, step: Step) -> float:
    """The median of a step's increments; 0 for one that failed in every round."""
    found = increments(rounds, place, step)
    return median(found) if found else 0.0


_PLACES: tuple[Place, ...] = ("served", "in process")
