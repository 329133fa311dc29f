"""The cone beam's geometry arguments, checked where their values are known."""

from __future__ import annotations

import dataclasses
import functools
import warnings
from typing import Any

import numpy as np
import tensorflow as tf

from pyronn_layers.fields import Field, entries, known
from pyronn_layers.library import extract_message, ops

_CHECKED_GEOMETRIES = 64
_FIELDS = (
    Field("volume_origin", (3,), "three numbers"),
    Field("volume_spacing", (3,), "three numbers"),
    Field("projection_matrices", (None, 3, 4), "shape (views, 3, 4)"),
    Field("projection_multiplier", (), "a number"),
)


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
        given = None if values_shape.rank is None or None in values_shape[1:] else values_shape[1:].as_list()
        if given is None or result_shape is None or not known(self.tensors):
            return
        volume, sinogram = (given, result_shape.tolist()) if volumes else (result_shape.tolist(), given)
        views = self.tensors[2].shape[-3]
        if sinogram[0] != views:
            name = "projection_shape" if volumes else "sinogram"
            raise ValueError(f"{name}: found {sinogram[0]} views; expected {views}, as projection_matrices")
        for each in entries(_FIELDS, self.tensors):
            warning = _check_values(tuple(volume), tuple(sinogram[1:]), *(array.tobytes() for array in each[:3]))
            if warning:
                warnings.warn(warning, stacklevel=4)


def read_geometry(origin: Any, spacing: Any, matrices: Any, multiplier: Any) -> Geometry:
    """Return the geometry arguments, each an array or a tensor, with or without a batch dimension.

    Raises:
      ValueError: an argument is wrong; the message says which, what was found and what was expected.
    """
    given = (origin, spacing, matrices, multiplier)
    origin, spacing, matrices, multiplier = (f.read(value) for f, value in zip(_FIELDS, given, strict=True))
    return Geometry((origin, spacing, matrices, multiplier))


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
