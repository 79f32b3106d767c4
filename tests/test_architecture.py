"""What holds between the modules: who may import what, what a class may hold, what they say they offer."""

import ast
import importlib
import inspect
import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import bridge

ROOT = Path(bridge.__file__).parent
SOURCES = sorted(ROOT.rglob("*.py"))
MODULES = sorted(module.name for module in pkgutil.walk_packages(bridge.__path__, "bridge."))


def name_of(source: Path) -> str:
    return source.relative_to(ROOT).as_posix()


def imports_of(source: Path) -> set[str]:
    """Every module that a file imports, anywhere in it, for type checkers alone or by name."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{source}: imports are absolute here"
            assert node.module is not None
            found.add(node.module)
        elif isinstance(node, ast.Constant) and node.value in MODULES:  # import_module, sys.modules
            found.add(str(node.value))
    return found


# Rooms

# PEP 3333 is implemented once, in the core, for whatever runs it; what runs it does not know who asks for it.
# Each room, and each module that has none, with what else of this package it may import.
BASE = {"errors", "free_threading", "types", "version"}
INNER = {
    *BASE,
    "blocking",
    "core",
    "flask",
    "interfaces",
    "lifespans",
    "loading",
    "monkey_patching",
    "runners",
    "own_frames",
    "websockets",
}
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "types": set(),
    "version": set(),
    "free_threading": set(),
    "blocking": {"free_threading"},
    "interfaces": {"types"},
    "monkey_patching": set(),
    "lifespans": BASE,
    "own_frames": set(),
    "loading": {*BASE, "interfaces", "own_frames"},
    "core": BASE,
    "runners": BASE | {"core"},
    "websockets": BASE | {"core", "interfaces", "runners"},
    "flask": BASE | {"core", "interfaces", "lifespans", "runners", "websockets"},
    "http": BASE | {"core", "runners"},
    "asgi": INNER,
    "ray": INNER | {"asgi"},
    "__init__": INNER | {"asgi", "server"},
    "testing": INNER | {"asgi"},
    "trace": INNER | {"asgi", "testing"},
    "server": INNER | {"asgi", "http", "ray"},
    "check": INNER | {"asgi", "server", "testing", "trace"},
    "command": {"check", "server"},
    "__main__": {"command"},
}


def room_of(module: str) -> str:
    """The room of a module, or the module itself if it has none."""
    return [*module.split("."), "__init__"][1]


@pytest.mark.parametrize("source", SOURCES, ids=name_of)
def test_imports_have_a_direction(source: Path) -> None:
    room = name_of(source).partition("/")[0].removesuffix(".py")
    imported = {room_of(module) for module in imports_of(source) if module.partition(".")[0] == "bridge"}
    assert imported - {room} <= MAY_IMPORT[room]


# Purity

IMPURE = {"asyncio", "concurrent", "contextvars", "selectors", "socket", "threading", "queue", "subprocess"}
PURE = [
    *(name_of(source) for source in SOURCES if name_of(source).startswith("core/")),
    "asgi/arguments.py",
    "asgi/environ.py",
    "asgi/scope.py",
    "asgi/scope_view.py",
    "errors.py",
    "http/http1.py",
    "http/limits.py",
    "http/reader.py",
    "http/request_line.py",
    "interfaces.py",
    "lifespans.py",
    "server/processes/fleet.py",
    "trace/facts.py",
    "types.py",
    "version.py",
    "websockets/protocol.py",
    "websockets/states.py",
]


@pytest.mark.parametrize("name", PURE)
def test_pure_module_imports_no_io(name: str) -> None:
    imported = imports_of(ROOT / name)
    assert not {module.partition(".")[0] for module in imported} & IMPURE
    ours = {module for module in imported if module.partition(".")[0] == "bridge"}
    pure = {"bridge." + name.removesuffix(".py").replace("/", ".") for name in PURE}
    assert ours <= pure, "what a pure module imports must be pure, too"


FOREIGN = {"asgiref.typing", "flask", "h11", "httptools", "uvicorn", "werkzeug", "wsproto"}
EVENTS = ("http.response", "http.request", "http.disconnect", "lifespan.", "websocket.")
WITHOUT_ASGI = [source for source in SOURCES if name_of(source).partition("/")[0] in ("core", "runners")]


def strings_of(source: Path) -> Iterator[str]:
    """Every string in a file but those that stand alone, as docstrings do."""
    tree = ast.parse(source.read_text())
    alone = {node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in alone:
            yield node.value


@pytest.mark.parametrize("source", WITHOUT_ASGI, ids=name_of)
def test_core_and_runners_know_no_asgi(source: Path) -> None:
    imported = imports_of(source)
    assert not (imported | {module.partition(".")[0] for module in imported}) & FOREIGN
    assert [string for string in strings_of(source) if any(event in string for event in EVENTS)] == []


# Classes

MOST_ATTRIBUTES = 14
MOST_ARGUMENTS = 6
LARGER = {
    ("asgi/adapter.py", "WSGIToASGI"): "the public face: its arguments are its settings, by keyword",
    ("server/program.py", "Settings"): "the same declaration, for type checkers",
    ("server/settings.py", "ServeSettings"): "a declaration of settings, which does nothing",
}


def attributes_of(definition: ast.ClassDef) -> set[str]:
    """What a class says that its objects hold: in its annotations, in `__slots__`, or to `self`.

    What it inherits counts in the class that says so, unless its own methods assign it.
    """
    found: set[str] = set()
    for statement in definition.body:
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            found.add(statement.target.id)
        elif isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "__slots__":
            slots = ast.literal_eval(statement.value)
            found.update([slots] if isinstance(slots, str) else slots)
    nodes: list[ast.AST] = list(definition.body)
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.ClassDef):
            continue
        if (
            isinstance(node, ast.Attribute)
            and isinstance(node.ctx, ast.Store)
            and isinstance(node.value, ast.Name)
            and node.value.id == "self"
        ):
            found.add(node.attr)
        nodes.extend(ast.iter_child_nodes(node))
    return found


def arguments_of(definition: ast.ClassDef) -> list[str]:
    """Those of its constructor, without `self`; a dataclass has none, but attributes."""
    for node in definition.body:
        if isinstance(node, ast.FunctionDef) and node.name == "__init__":
            given = node.args
            return [each.arg for each in (*given.posonlyargs, *given.args, *given.kwonlyargs)][1:]
    return []


def is_small(definition: ast.ClassDef) -> bool:
    return (
        len(attributes_of(definition)) <= MOST_ATTRIBUTES and len(arguments_of(definition)) <= MOST_ARGUMENTS
    )


def test_classes_are_small() -> None:
    """Each holds what one can keep in mind."""
    large = {
        (name_of(source), node.name)
        for source in SOURCES
        for node in ast.walk(ast.parse(source.read_text()))
        if isinstance(node, ast.ClassDef) and not is_small(node)
    }
    assert large == set(LARGER)


@pytest.mark.parametrize(
    ("body", "attributes", "arguments"),
    [
        ("a: int\n b: int = 0\n c = 0", {"a", "b"}, []),
        ("__slots__ = ('a', 'b')\n def f(self): self.a = self.c = 0", {"a", "b", "c"}, []),
        ("__slots__ = 'a'\n def f(self): self.b.c = d.e = 0", {"a"}, []),
        ("def f(self):\n  self.a += 1\n  for self.b, _ in []: pass", {"a", "b"}, []),
        ("def f(self):\n  def g(): self.a = 0\n class B:\n  def f(self): self.b = 0", {"a"}, []),
        ("def __init__(self, a, /, b, *c, d, **e): self.a: int = a", {"a"}, ["a", "b", "d"]),
    ],
)
def test_what_counts_for_a_class(body: str, attributes: set[str], arguments: list[str]) -> None:
    (definition,) = ast.parse(f"class A:\n {body}").body
    assert isinstance(definition, ast.ClassDef)
    assert attributes_of(definition) == attributes
    assert arguments_of(definition) == arguments


# What is imported, and offered


@pytest.mark.parametrize("statement", ["import bridge", "from bridge import WSGIToASGI"])
def test_adapter_alone_imports_no_server(statement: str) -> None:
    """It is to be installed, and to start, without what it does not need."""
    code = f"import sys; {statement}; print(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(result.stdout.split())
    assert "bridge" in loaded
    assert not loaded & {"uvicorn", "click", "flask", "werkzeug", "httpx", "starlette", "greenlet", "wsproto"}


def test_other_systems_are_told_what_it_needs() -> None:
    code = "import os; del os.fork, os.register_at_fork; import bridge"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stderr.splitlines()[-1].startswith("ImportError: Bridge runs on POSIX systems")


@pytest.mark.parametrize("name", ["bridge", *MODULES])
def test_all_names_what_is_there(name: str) -> None:
    """`__all__` holds names that exist, once, and every public class and function that is made there."""
    module = importlib.import_module(name)
    public = {key for key, value in vars(module).items() if is_made_in(module, key, value)}
    offered = getattr(module, "__all__", [])
    assert len(offered) == len(set(offered))
    assert [key for key in offered if not hasattr(module, key)] == []
    assert public <= set(offered)


def is_made_in(module: ModuleType, name: str, value: object) -> bool:
    return (
        not name.startswith("_")
        and (inspect.isclass(value) or inspect.isfunction(value))
        and value.__module__ == module.__name__
    )


def test_every_source_is_a_module() -> None:
    """No file that the test above would pass over, for want of an `__init__.py` beside it."""
    dotted = {"bridge." + name_of(source).removesuffix(".py").replace("/", ".") for source in SOURCES}
    assert {name.removesuffix(".__init__") for name in dotted} == {"bridge", *MODULES}
