"""One name means one thing, and everything in the library is used."""

from __future__ import annotations

import ast
import collections
import functools
import pathlib
from collections.abc import Iterator

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
# What bears one name in several places, and why.
SHARED_MODULE_NAMES = {
    "single_site": "a command and the run that it starts",
    "federated": "a command, the run that it starts and the package of what travels",
    "build_ssm": "a command and the tool that it calls",
    "export": "a command, the tool that it calls, and how runs write generators",
    "out_of_distribution": "a command and the tool that it calls",
    "prepare": "a command and the tool that it calls",
    "sample": "a command and the tool that it calls",
    "segment": "a command and the tool that it calls",
    "slices": "a command and the tool that it calls",
}
SHARED_CLASS_NAMES: dict[str, str] = {}
SHARED_FUNCTION_NAMES = {
    "run": "what each command does",
}
# What neither the library nor a command uses, and why it is there.
UNUSED: dict[str, str] = {}


@functools.cache
def trees() -> dict[str, ast.Module]:
    """Return every module of the library and of the commands, by its dotted name."""
    files = [path for package in ("fedsim_tf", "experiments") for path in sorted((ROOT / package).rglob("*.py"))]
    names = [path.relative_to(ROOT).with_suffix("").parts for path in files]
    return {
        ".".join(parts[:-1] if parts[-1] == "__init__" else parts): ast.parse(path.read_text())
        for parts, path in zip(names, files, strict=True)
    }


def definitions(kind: type | tuple[type, ...]) -> dict[str, list[str]]:
    """Return the modules that define each name at their top level."""
    found = collections.defaultdict(list)
    for module, tree in trees().items():
        for node in tree.body:
            if isinstance(node, kind):
                found[node.name].append(module)  # type: ignore[attr-defined]
    return found


def module_names() -> dict[str, list[str]]:
    found = collections.defaultdict(list)
    for module in trees():
        found[module.rpartition(".")[2]].append(module)
    return found


def shared(names: dict[str, list[str]], allowed: dict[str, str]) -> dict[str, list[str]]:
    """Return the names that several modules have without a reason."""
    return {name: places for name, places in names.items() if len(places) > 1 and name not in allowed}


def public(names: dict[str, list[str]]) -> dict[str, list[str]]:
    return {name: places for name, places in names.items() if not name.startswith("_")}


def test_no_two_modules_have_one_name():
    assert shared(module_names(), SHARED_MODULE_NAMES) == {}


def test_no_two_classes_have_one_name():
    """Private ones count too: a reader meets both in tracebacks."""
    assert shared(definitions(ast.ClassDef), SHARED_CLASS_NAMES) == {}


def test_no_two_public_functions_have_one_name():
    assert shared(public(definitions(ast.FunctionDef)), SHARED_FUNCTION_NAMES) == {}


@pytest.mark.parametrize(
    ("allowed", "names"),
    [
        (SHARED_MODULE_NAMES, module_names),
        (SHARED_CLASS_NAMES, lambda: definitions(ast.ClassDef)),
        (SHARED_FUNCTION_NAMES, lambda: definitions(ast.FunctionDef)),
    ],
    ids=["modules", "classes", "functions"],
)
def test_exceptions_are_still_needed(allowed, names):
    found = names()
    assert [name for name in allowed if len(found[name]) < 2] == []


def defined(tree: ast.Module) -> Iterator[tuple[str, ast.stmt]]:
    """Yield each public name at the top level of a module, with the statement that defines it."""
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            targets = [node.name]
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            assigned = node.targets if isinstance(node, ast.Assign) else [node.target]
            targets = [item.id for target in assigned for item in ast.walk(target) if isinstance(item, ast.Name)]
        else:
            continue
        yield from ((name, node) for name in targets if not name.startswith("_"))


def references(node: ast.AST) -> collections.Counter[str]:
    """Return how often each name is read below a node: as a name, an attribute, an import, or the end of a path."""
    found: collections.Counter[str] = collections.Counter()
    for item in ast.walk(node):
        if isinstance(item, ast.Name) and isinstance(item.ctx, ast.Load):
            found[item.id] += 1
        elif isinstance(item, ast.Attribute):
            found[item.attr] += 1
        elif isinstance(item, (ast.Import, ast.ImportFrom)):
            found.update(alias.name.rpartition(".")[2] for alias in item.names)
        elif isinstance(item, ast.Constant) and isinstance(item.value, str) and item.value.startswith("fedsim_tf."):
            found[item.value.rpartition(".")[2]] += 1
    return found


def unused() -> dict[str, str]:
    """Return the public names of the library, with their modules, that nothing but their own definition mentions.

    `fedsim_tf/__init__.py` is the public interface: what it defines or imports is there for users.
    """
    everywhere: collections.Counter[str] = collections.Counter()
    for tree in trees().values():
        everywhere += references(tree)
    return {
        name: module
        for module, tree in trees().items()
        if module.startswith("fedsim_tf.")
        for name, node in defined(tree)
        if everywhere[name] == references(node)[name]
    }


def test_everything_in_the_library_is_used():
    found = unused()
    assert {name: module for name, module in found.items() if name not in UNUSED} == {}
    assert [name for name in UNUSED if name not in found] == []
