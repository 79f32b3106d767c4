"""The page that puts `demos/api` and this one side by side, made from their files as they are."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from demos.django_side.comparison import CONCERNS, Concern
from demos.django_side.lines import Source, read_sources

HERE = Path(__file__).parent
FLASK = HERE.parent / "api"


@dataclass(frozen=True)
class Row:
    """A concern, and the files of both that are about it."""

    concern: Concern
    flask: list[Source]
    django: list[Source]

    @property
    def flask_lines(self) -> int:
        return sum(source.lines for source in self.flask)

    @property
    def django_lines(self) -> int:
        return sum(source.lines for source in self.django)


def side_by_side(request: HttpRequest) -> HttpResponse:
    flask, django = read_sources(FLASK), read_sources(HERE)
    rows = list(pair(flask, django))
    return render(
        request,
        "django_side/side_by_side.html",
        {
            "rows": rows,
            "flask_files": len(flask),
            "django_files": len(django),
            "flask_lines": sum(row.flask_lines for row in rows),
            "django_lines": sum(row.django_lines for row in rows),
        },
    )


def pair(flask: dict[str, Source], django: dict[str, Source]) -> Iterator[Row]:
    """Every file once; what no concern names comes last, so that nothing is left out of the count."""
    flask, django = dict(flask), dict(django)
    for concern in CONCERNS:
        yield Row(concern, _take(flask, concern.flask_files), _take(django, concern.django_files))
    yield Row(Concern("All else"), list(flask.values()), list(django.values()))


def _take(sources: dict[str, Source], names: tuple[str, ...]) -> list[Source]:
    """Remove those of a name, or in a folder of it, and return them."""
    taken = [name for name in sources if name.startswith(names)] if names else []
    return [sources.pop(name) for name in taken]
