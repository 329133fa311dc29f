"""The compiled voxelization operators; their sources lie here, the library beside this folder."""

from __future__ import annotations

import pathlib
from typing import Any

import tensorflow as tf

# Each TensorFlow has a library of its own, so that environments with different ones may share the sources.
_SERIES = ".".join(tf.__version__.split(".")[:2])
_LIBRARY = pathlib.Path(__file__).parents[1] / f"_voxels.tf{_SERIES}.so"


def _load() -> Any:
    if not _LIBRARY.exists():
        raise ImportError(f"{_LIBRARY} is missing; `pip install .` in the project's folder compiles it")
    return tf.load_op_library(str(_LIBRARY))


ops = _load()
