"""The file with PyTorch's results: losses as they are, arrays as projections on random directions."""

from __future__ import annotations

import json
import pathlib
import zlib
from collections.abc import Mapping

import numpy as np

PATH = pathlib.Path(__file__).with_name("recorded.json")
STEPS = 3
Numbers = dict[str, float | list[float]]


def projection(name: str, array: np.ndarray) -> list[float]:
    """Return the inner product with a random direction that belongs to the name, and the array's norm.

    If two arrays differ by a vector of norm e, their products differ by about e.
    """
    array = np.asarray(array, np.float64)
    # Directions belong to the names under which PyTorch's numbers were recorded.
    former = name.replace("discriminators.", "judges.")
    direction = np.random.default_rng(zlib.crc32(former.encode())).standard_normal(array.shape)
    return [float(np.vdot(direction, array)), float(np.linalg.norm(array))]


def projections(prefix: str, arrays: Mapping[str, np.ndarray]) -> Numbers:
    return {f"{prefix}{name}": projection(name, array) for name, array in arrays.items()}


def read() -> Numbers:
    return json.loads(PATH.read_text(encoding="utf-8"))


def write(numbers: Numbers) -> None:
    rounded = {name: _rounded(value) for name, value in sorted(numbers.items())}
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(value)}" for name, value in rounded.items())
    PATH.write_text(f"{{\n{lines}\n}}\n", encoding="utf-8")


def _rounded(value: float | list[float]) -> float | list[float]:
    return [_rounded(part) for part in value] if isinstance(value, list) else float(f"{value:.8g}")
