"""The demos' sources: a table made of the files that are there; a name finds one of these, or nothing."""

import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from markupsafe import Markup
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexer import Lexer
from pygments.lexers.configs import IniLexer
from pygments.lexers.css import CssLexer
from pygments.lexers.javascript import JavascriptLexer
from pygments.lexers.markup import MarkdownLexer
from pygments.lexers.python import PythonLexer
from pygments.lexers.special import TextLexer
from pygments.lexers.templates import HtmlDjangoLexer

# All that is shown, and how it is coloured. Whatever else lies in a demo's folder is nobody's business.
LEXERS: dict[str, type[Lexer]] = {
    ".py": PythonLexer,
    ".html": HtmlDjangoLexer,
    ".css": CssLexer,
    ".js": JavascriptLexer,
    ".md": MarkdownLexer,
    ".ini": IniLexer,
    ".cfg": IniLexer,
    ".mako": TextLexer,
    ".po": TextLexer,
}


@dataclass(frozen=True)
class Source:
    """A file of a demo; its name is below the demo's folder, with slashes."""

    name: str
    path: Path

    @property
    def folder(self) -> str:
        return self.name.rpartition("/")[0]

    @cache  # noqa: B019  # there are some two hundred, which stay as long as the server
    def lines(self) -> list[Markup]:
        """Its lines as HTML, each by itself."""
        lexer = LEXERS[self.path.suffix](stripnl=False)
        marked = highlight(self.path.read_text(encoding="utf-8"), lexer, HtmlFormatter(nowrap=True))
        return [Markup(line) for line in marked.splitlines()]


def sources_of(module: str) -> dict[str, Source]:
    """The sources of a module, or of a package and all in it, by name; none if there is no such module."""
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        return {}
    file = Path(spec.origin).resolve()
    paths = sorted(_files(file.parent), key=_order) if spec.submodule_search_locations else [file]
    found = (Source(path.relative_to(file.parent).as_posix(), path) for path in paths)
    return {source.name: source for source in found}


def _files(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        if path.suffix in LEXERS and path.is_file() and path.resolve() == path and path.stat().st_size:
            yield path  # which no link leads to: it is where it says


def _order(path: Path) -> tuple[bool, Path, str]:
    return path.parent.name == "tests", path.parent, path.name
