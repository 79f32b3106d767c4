"""The messages in the code of the package, as patterns: an ellipsis stands for what differs."""

import ast
import re
from collections.abc import Iterator

from tests.docs.pages import ROOT

__all__ = ["messages"]

_LOGGED = {"warning", "error", "exception"}
_NOT_FOR_USERS = {
    "AssertionError",
    "AttributeError",
}  # Bridge's own mistakes, and what Python asks of a module


def messages() -> Iterator[tuple[str, str]]:
    """Each message of an exception, and of the log from warnings on; and where it is."""
    for path in sorted((ROOT / "bridge").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            call = node.exc if isinstance(node, ast.Raise) else node
            if not isinstance(call, ast.Call) or not call.args or not _is_told(node, call.func):
                continue
            pattern = _pattern(call.args[0])
            if pattern is not None and " " in pattern:  # else it is no sentence
                yield f"{path.relative_to(ROOT)}:{call.lineno}", " ".join(pattern.split())


def _is_told(node: ast.AST, function: ast.expr) -> bool:
    if isinstance(node, ast.Raise):
        return ast.unparse(function).rpartition(".")[2] not in _NOT_FOR_USERS
    return (
        isinstance(function, ast.Attribute)
        and function.attr in _LOGGED
        and ast.unparse(function.value) == "logger"
    )


def _pattern(text: ast.expr) -> str | None:
    """The text with an ellipsis for each part that differs; None for a variable."""
    match text:
        case ast.Constant(value=str(said)):
            return re.sub(r"%[-.\d]*[a-z]", "…", said)
        case ast.JoinedStr(values=values):
            return "".join(str(each.value) if isinstance(each, ast.Constant) else "…" for each in values)
    return None
