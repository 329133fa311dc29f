"""Rules about imports that import-linter cannot express."""

import ast
import os
import pathlib
import subprocess
import sys

import fedsim_tf
from fedsim_tf.legacy_keras import VARIABLE, is_separate

LIBRARY = pathlib.Path(fedsim_tf.__file__).parent


def imported(source: str) -> set[str]:
    """Full names of everything that a module imports."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def test_the_library_reads_no_flags():
    readers = [
        path.name
        for path in LIBRARY.rglob("*.py")
        if any(name.startswith(("absl.flags", "absl.app")) for name in imported(path.read_text()))
    ]
    assert readers == []


def test_the_check_sees_both_ways_of_importing():
    assert "absl.flags" in imported("from absl import flags")
    assert "absl.flags" in imported("import absl.flags")


def test_importing_any_module_changes_nothing_outside_it():
    """But for one variable of the environment, where Keras 2 is a package beside TensorFlow: only it says so."""
    command = [sys.executable, "-m", "tests.import_everything"]
    env = {name: value for name, value in os.environ.items() if name != VARIABLE}  # these tests have imported it
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=env)
    expected = [f"fedsim_tf changes the environment's {VARIABLE}"] if is_separate() else []
    assert done.stdout.splitlines() == expected
