"""The design, held: layers, no torch, nothing that executes what it reads, modules that a person can hold in mind."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from optinspect.checks import RULES
from optinspect.containers import CONTAINERS
from optinspect.layouts import LAYOUTS
from optinspect.naming import EVIDENCE
from optinspect.optimizers import OPTIMIZERS
from optinspect.render import RENDERERS

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "optinspect"
MODULES = sorted(PACKAGE.rglob("*.py"))
SAMPLE = ROOT / "sample_checkpoints" / "gpt_step50.pt"

MODULE_LINES = 250
FUNCTION_LINES = 60
"""The aim is 40; what lies between is looked at, what is beyond is refused."""

EXECUTES = {"eval", "exec", "compile", "__import__", "breakpoint"}
LOADERS = {"load", "loads", "Unpickler", "import_module", "system", "popen"}
"""Refused as attributes of the modules that could run what a file says; `json.loads` is plain data."""
HARMLESS = {"json"}
USERS_WORD = PACKAGE / "replaying" / "user_code.py"
"""`replay --model pkg.mod:factory`: imports what the command line names, never what a file names."""
HEAVY = {"torch", "numpy", "rich", "typer"}


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def imports(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name.partition(".")[0] for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
        yield node.module.partition(".")[0]


def is_type_checking(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def at_module_level(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """What runs on import: not the bodies of functions, nor what is for type checkers only."""
    for node in body:
        if is_type_checking(node) or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        yield node
        for field in ("body", "orelse", "finalbody"):
            yield from at_module_level(getattr(node, field, []))
        for handler in getattr(node, "handlers", []):
            yield from at_module_level(handler.body)


def test_layers() -> None:
    """The contracts in pyproject.toml; `lint-imports` prints what breaks them."""
    code = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True, no_logo=True))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_nothing_executes_what_it_reads(path: Path) -> None:
    """No loader of pickles, no eval: neither called nor passed on."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Name):
            assert node.id not in EXECUTES, f"{name_of(path)}:{node.lineno}: {node.id}"
            assert node.id != "Unpickler", f"{name_of(path)}:{node.lineno}"
        if isinstance(node, ast.Attribute) and node.attr in LOADERS:
            of = node.value.id if isinstance(node.value, ast.Name) else "?"
            assert of in HARMLESS or path == USERS_WORD, f"{name_of(path)}:{node.lineno}: {of}.{node.attr}"
        modules = set(imports(node))
        assert not modules & {"pickle", "_pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "runpy"}
        assert "importlib" not in modules or path.name == "__init__.py" or path == USERS_WORD, name_of(path)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_torch_is_never_imported_by_importing_us(path: Path) -> None:
    found = {module for node in at_module_level(tree(path).body) for module in imports(node)}
    assert "torch" not in found


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_can_be_read_in_one_sitting(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").count("\n")
    assert lines <= MODULE_LINES
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or 0) - node.body[0].lineno + 1  # a command has an argument an option
            assert length <= FUNCTION_LINES, f"{name_of(path)}: {node.name} has {length} lines"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_every_module_says_what_it_is(path: Path) -> None:
    assert ast.get_docstring(tree(path))


def test_registries_are_tuples() -> None:
    for registry in (CONTAINERS, LAYOUTS, EVIDENCE, OPTIMIZERS, RENDERERS, RULES):
        assert isinstance(registry, tuple)
        assert len(set(map(id, registry))) == len(registry) > 0


def loaded_after(code: str) -> set[str]:
    """Top-level modules that a fresh interpreter has loaded after `code`."""
    told = "sys.stderr.write(json.dumps(sorted({m.partition('.')[0] for m in sys.modules})))"
    probe = f"{code}\nimport sys, json; {told}"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True, cwd=ROOT)
    return set(json.loads(done.stderr))


def command(*words: str) -> str:
    return f"from optinspect.cli import main; assert main({list(words)!r}) == 0"


def test_importing_the_package_loads_nothing_heavy() -> None:
    assert not loaded_after("import optinspect") & HEAVY


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["show", "--help"]], ids=" ".join)
def test_help_loads_neither_torch_nor_numpy(words: list[str]) -> None:
    assert not loaded_after(command(*words)) & {"torch", "numpy", "jsonschema", "yaml"}


@pytest.mark.parametrize("options", [[], ["--no-stats"], ["--weights", "--json", "--limit", "2"]], ids=" ".join)
def test_show_leaves_torch_alone(options: list[str]) -> None:
    """And pydantic, which Typer would load to convert options that are texts."""
    assert not loaded_after(command("show", str(SAMPLE), *options)) & {"torch", "pydantic"}


def test_python_does_what_the_command_does_without_torch() -> None:
    code = (
        "import optinspect\n"
        f"with optinspect.open({str(SAMPLE)!r}) as checkpoint:\n"
        "    (naming,) = optinspect.name(checkpoint)\n"
        "    measured = optinspect.measure(checkpoint)\n"
        "    again = optinspect.measure(checkpoint)\n"
        "assert len(naming.parameters) == len(measured) == len(again) == 28\n"
        f"assert optinspect.show({str(SAMPLE)!r}, stats=False).status == 0\n"
    )
    assert "torch" not in loaded_after(code)
