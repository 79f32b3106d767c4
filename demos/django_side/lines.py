"""How long is it? Lines of code, counted in the files as they are."""

import ast
import io
import tokenize
from dataclasses import dataclass
from pathlib import Path

_NO_CODE = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENCODING,
    tokenize.ENDMARKER,
}


@dataclass(frozen=True)
class Source:
    """A file of Python. `lines` are those with code: no blank ones, no comments, no docstrings."""

    name: str
    text: str
    lines: int


def read_sources(folder: Path) -> dict[str, Source]:
    """All of a package, by their names in it."""
    found = {}
    for path in sorted(folder.rglob("*.py")):
        name, text = str(path.relative_to(folder)), path.read_text()
        found[name] = Source(name, text, count_lines(text))
    return found


def count_lines(text: str) -> int:
    code: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in _NO_CODE:
            code.update(range(token.start[0], token.end[0] + 1))
    return len(code - _lines_of_docstrings(text))


def _lines_of_docstrings(text: str) -> set[int]:
    found: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and ast.get_docstring(node, clean=False) is not None:
                found.update(range(first.lineno, (first.end_lineno or first.lineno) + 1))
    return found
