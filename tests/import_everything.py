"""Imports every module of the library and prints, line by line, what each changes outside itself.

    python -m tests.import_everything

Packages of others are imported first: what they change is theirs. pyronn is not, as its greeting is ours to keep off
standard output. The state before `import fedsim_tf` is compared too.
"""

import ast
import contextlib
import importlib
import importlib.machinery
import importlib.util
import io
import logging
import os
import pathlib
import pkgutil
import random
import signal
import sys
import warnings
from collections.abc import Iterator
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import matplotlib
import numpy as np
import tensorflow as tf

ENVIRONMENT = dict(os.environ)

import fedsim_tf  # noqa: E402

OURS = ("fedsim_tf", "pyronn", "pyronn_layers")
SETTINGS = matplotlib.rcParams  # read as a plain dictionary: it chooses a backend when it is asked for one


def state() -> dict[str, Any]:
    """What the process's modules have in common."""
    mask = os.umask(0o022)
    os.umask(mask)
    return {
        **{f"the environment's {name}": value for name, value in os.environ.items()},
        **{f"matplotlib's {name}": str(dict.__getitem__(SETTINGS, name)) for name in SETTINGS},
        **{repr(number): repr(signal.getsignal(number)) for number in signal.valid_signals()},
        "the working folder": os.getcwd(),
        "TF32": tf.config.experimental.tensor_float_32_execution_enabled(),
        "the precision policy": tf.keras.mixed_precision.global_policy().name,
        "eager execution": tf.config.functions_run_eagerly(),
        "standard output": id(sys.stdout),
        "standard error": id(sys.stderr),
        "random numbers of Python": random.getstate(),
        "random numbers of NumPy": repr(np.random.get_state()),  # noqa: NPY002
        "NumPy's errors": np.geterr(),
        "warnings": list(map(str, warnings.filters)),
        "logging": (logging.root.level, list(map(repr, logging.root.handlers))),
        "the file mask": mask,
    }


def modules() -> dict[str, pathlib.Path]:
    """The library's modules by name, and their files."""
    found = {}
    for module in pkgutil.walk_packages(fedsim_tf.__path__, "fedsim_tf."):
        spec = module.module_finder.find_spec(module.name, None)
        if isinstance(spec.loader, importlib.machinery.SourceFileLoader):  # our native code is no module
            found[module.name] = pathlib.Path(spec.origin)
    if importlib.util.find_spec("nvflare") is None:
        return {name: file for name, file in found.items() if not name.startswith("fedsim_tf.federated.flare.")}
    return found


def imported_from_others(file: pathlib.Path) -> Iterator[str]:
    """The modules of other packages that a file imports."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        names = [node.module] if isinstance(node, ast.ImportFrom) else []
        names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        yield from (name for name in names if name.partition(".")[0] not in OURS)


def changes(name: str) -> Iterator[str]:
    """Imports a module, and says what it changes."""
    before, printed = state(), io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        importlib.import_module(name)
    after = state()
    yield from (f"{name} changes {kind}" for kind in before | after if before.get(kind) != after.get(kind))
    if printed.getvalue():
        yield f"{name} prints {printed.getvalue()!r}"


def main() -> None:
    for name in sorted(ENVIRONMENT.keys() | os.environ.keys()):
        if ENVIRONMENT.get(name) != os.environ.get(name):
            print(f"fedsim_tf changes the environment's {name}")
    files = modules()
    for other in sorted({name for file in files.values() for name in imported_from_others(file)}):
        with contextlib.suppress(ImportError):  # extras that are not installed
            importlib.import_module(other)
    for name in files:
        for line in changes(name):
            print(line)


if __name__ == "__main__":
    main()
