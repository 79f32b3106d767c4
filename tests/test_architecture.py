"""What holds between the modules: who may import what, how large they are, what they say they offer."""

import ast
import importlib
import inspect
import pkgutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import bridge

ROOT = Path(bridge.__file__).parent
SOURCES = sorted(ROOT.rglob("*.py"))
MODULES = sorted(module.name for module in pkgutil.walk_packages(bridge.__path__, "bridge."))

# PEP 3333 is implemented once, for whatever link: in modules that know neither threads nor asyncio.
PURE = [
    "errors.py",
    "interfaces.py",
    "trace/facts.py",
    "trace/headers.py",
    "types.py",
    "version.py",
    "core/body.py",
    "core/call.py",
    "core/environ.py",
    "core/link.py",
    "asgi/environ.py",
    "core/files.py",
    "core/response.py",
    "asgi/scope_view.py",
    "websockets/protocol.py",
    "websockets/states.py",
]
IMPURE = {"asyncio", "concurrent", "contextvars", "selectors", "socket", "threading", "queue", "subprocess"}

MAX_LINES = 500


def name_of(source: Path) -> str:
    return source.relative_to(ROOT).as_posix()


def imports_of(source: Path) -> set[str]:
    """Every module that a file imports, anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{source}: imports are absolute here"
            assert node.module is not None
            found.add(node.module)
    return found


@pytest.mark.parametrize("name", PURE)
def test_pure_module_imports_no_io(name: str) -> None:
    imported = imports_of(ROOT / name)
    assert not {module.partition(".")[0] for module in imported} & IMPURE
    ours = {module for module in imported if module.partition(".")[0] == "bridge"}
    pure = {"bridge." + name.removesuffix(".py").replace("/", ".") for name in PURE}
    assert ours <= pure, "what a pure module imports must be pure, too"


@pytest.mark.parametrize("statement", ["import bridge", "from bridge import WSGIToASGI"])
def test_adapter_alone_imports_no_server(statement: str) -> None:
    """It is to be installed, and to start, without what it does not need."""
    code = f"import sys; {statement}; print(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(result.stdout.split())
    assert "bridge" in loaded
    assert not loaded & {"uvicorn", "click", "flask", "werkzeug", "httpx", "starlette", "greenlet", "wsproto"}


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


@pytest.mark.parametrize("source", SOURCES, ids=name_of)
def test_module_is_small(source: Path) -> None:
    """One can read each in one sitting."""
    assert len(source.read_text().splitlines()) <= MAX_LINES
