"""The geometry arguments in the form that the compiled operators take, checked where their values are known."""

from __future__ import annotations

import dataclasses
import functools
import warnings
from typing import Any

import numpy as np
import tensorflow as tf

from pyronn_layers.library import extract_message, ops

_CHECKED_GEOMETRIES = 64


@dataclasses.dataclass(frozen=True)
class Geometry:
    """Volume origin and spacing, projection matrices and multiplier: float64 arrays where known, else tensors.

    Attributes:
      tensors: of shape (3,), (3,), (views, 3, 4) and (), each with or without a batch dimension.
    """

    tensors: tuple[Any, Any, Any, Any]

    def check(self, values_shape: tf.TensorShape, result_shape: np.ndarray | None, *, volumes: bool) -> None:
        """Refuse an invalid geometry and warn of one that truncates, provided that all values are known already.

        Args:
          values_shape: the shape of the operator's input, with the batch.
          result_shape: the shape of its output, (3,).
          volumes: whether the operator takes volumes and returns sinograms; else it is the other way round.

        Raises:
          ValueError: an argument is wrong; the message says which, what was found and what was expected.
        """
        known = None if values_shape.rank is None or None in values_shape[1:] else values_shape[1:].as_list()
        if known is None or result_shape is None or any(tf.is_tensor(value) for value in self.tensors):
            return
        volume, sinogram = (known, result_shape.tolist()) if volumes else (result_shape.tolist(), known)
        matrices = self.tensors[2]
        if matrices.shape[-2:] != (3, 4):
            raise ValueError(f"projection_matrices: found shape {matrices.shape}; expected (views, 3, 4)")
        if sinogram[0] != matrices.shape[-3]:
            name = "projection_shape" if volumes else "sinogram"
            views = matrices.shape[-3]
            raise ValueError(f"{name}: found {sinogram[0]} views; expected {views}, as projection_matrices")
        entries = max(len(array) if array.ndim > rank else 1 for array, rank in zip(self.tensors, _RANKS, strict=True))
        for entry in range(entries):
            each = [a[min(entry, len(a) - 1)] if a.ndim > r else a for a, r in zip(self.tensors, _RANKS, strict=True)]
            warning = _check_values(tuple(volume), tuple(sinogram[1:]), *(array.tobytes() for array in each[:3]))
            if warning:
                warnings.warn(warning, stacklevel=4)


_NAMES = ("volume_origin", "volume_spacing", "projection_matrices", "projection_multiplier")
_RANKS = (1, 1, 3, 0)


def read_geometry(origin: Any, spacing: Any, matrices: Any, multiplier: Any) -> Geometry:
    """Return the geometry arguments, each an array or a tensor, with or without a batch dimension.

    Raises:
      ValueError: an argument is wrong; the message says which, what was found and what was expected.
    """
    given = (origin, spacing, matrices, multiplier)
    return Geometry(tuple(_read(*each) for each in zip(_NAMES, given, _RANKS, strict=True)))


def _read(name: str, value: Any, rank: int) -> Any:
    if tf.is_tensor(value):
        static = tf.get_static_value(value)
        if static is None:
            return tf.cast(value, tf.float64)
        value = static
    try:
        array = np.asarray(value)
        if array.ndim == rank + 1 and len(array) and array.strides[0] == 0:
            array = array[0]  # PYRO-NN repeats one geometry for the whole batch
        array = array.astype(np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{name}: found {value!r}; expected numbers") from None
    if array.ndim not in (rank, rank + 1) or (rank == 1 and array.shape[-1] != 3):
        expected = {0: "a number", 1: "three numbers", 3: "shape (views, 3, 4)"}[rank]
        raise ValueError(f"{name}: found shape {array.shape}; expected {expected}, or one more dimension for the batch")
    return array


@functools.lru_cache(maxsize=_CHECKED_GEOMETRIES)
def _check_values(volume: tuple, detector: tuple, origin: bytes, spacing: bytes, matrices: bytes) -> str:
    """Return the warning that a geometry deserves, empty if none; raise ValueError if it is invalid."""
    arrays = [np.frombuffer(each) for each in (origin, spacing, matrices)]
    with tf.init_scope(), tf.device("CPU:0"):
        try:
            _, warning = ops.pyronn_layers_cone_geometry_check(
                volume, detector, arrays[0], arrays[1], arrays[2].reshape(-1, 3, 4)
            )
        except tf.errors.InvalidArgumentError as error:
            raise ValueError(extract_message(error)) from None
        return warning.numpy().decode()
