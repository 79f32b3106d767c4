"""The messages in the code of the package, as patterns: an ellipsis stands for what differs."""

import ast
import re
from collections.abc import Iterator
from itertools import pairwise

from tests.docs.pages import ROOT

__all__ = ["messages"]

_LOGGED = {"logger.warning", "logger.error", "logger.exception"}
_NOT_FOR_USERS = {
    "AssertionError",
    "AttributeError",
}  # Bridge's own mistakes, and what Python asks of a module


def messages() -> Iterator[tuple[str, str]]:
    """Each message of an exception, and of the log from warnings on; and where it is."""
    for path in sorted((ROOT / "bridge").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            for text in _told(node):
                pattern = _pattern(text)
                if pattern is not None and " " in pattern:  # else it is no sentence
                    yield f"{path.relative_to(ROOT)}:{text.lineno}", " ".join(pattern.split())


def _told(node: ast.AST) -> Iterator[ast.expr]:
    """The message of an exception that is raised, or of a call of the logger, also by `run` of a context."""
    if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
        if ast.unparse(node.exc.func).rpartition(".")[2] not in _NOT_FOR_USERS:
            yield from node.exc.args[:1]
    elif isinstance(node, ast.Call):
        for function, text in pairwise([node.func, *node.args]):
            if ast.unparse(function) in _LOGGED:
                yield text


def _pattern(text: ast.expr) -> str | None:
    """The text with an ellipsis for each part that differs; None for a variable."""
    match text:
        case ast.Constant(value=str(said)):
            return re.sub(r"%[-.\d]*[a-z]", "…", said)
        case ast.JoinedStr(values=values):
            return "".join(str(each.value) if isinstance(each, ast.Constant) else "…" for each in values)
    return None
