"""The geometry arguments of parallel and fan beams in the plane, checked where their values are known."""

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
_LENGTHS = (
    Field("volume_origin", (2,), "two numbers"),
    Field("detector_origin", (1,), "one number in a list"),
    Field("volume_spacing", (2,), "two numbers"),
    Field("detector_spacing", (1,), "one number in a list"),
    Field("source_2_isocenter_distance", (), "a number"),
    Field("source_2_detector_distance", (), "a number"),
)
_RAYS = {"parallel": "ray_vectors", "fan": "central_ray_vectors"}


def _fields(beam: str) -> tuple[Field, ...]:
    return (*_LENGTHS, Field(_RAYS[beam], (None, 2), "shape (views, 2)"))


@dataclasses.dataclass(frozen=True)
class PlanarGeometry:
    """The arguments of one beam, in the order of the compiled operator: float64 arrays where known, else tensors.

    Attributes:
      beam: "parallel" or "fan".
      tensors: the lengths, and the rays (views, 2), each with or without a batch dimension.
    """

    beam: str
    tensors: tuple[Any, ...]

    def check(self, values_shape: tf.TensorShape, result_shape: np.ndarray | None, *, volumes: bool) -> None:
        """Refuse an invalid geometry and warn of one that truncates, provided that all values are known already.

        Args:
          values_shape: the shape of the operator's input, with the batch.
          result_shape: the shape of its output, (2,).
          volumes: whether the operator takes volumes and returns sinograms; else it is the other way round.

        Raises:
          ValueError: an argument is wrong; the message says which, what was found and what was expected.
        """
        given = None if values_shape.rank is None or None in values_shape[1:] else values_shape[1:].as_list()
        if given is None or result_shape is None or not known(self.tensors):
            return
        volume, sinogram = (given, result_shape.tolist()) if volumes else (result_shape.tolist(), given)
        views = self.tensors[-1].shape[-2]
        if sinogram[0] != views:
            name = "projection_shape" if volumes else "sinogram"
            raise ValueError(f"{name}: found {sinogram[0]} views; expected {views}, as {_RAYS[self.beam]}")
        for *lengths, rays in entries(_fields(self.beam), self.tensors):
            together = np.concatenate([np.ravel(each) for each in lengths])
            warning = _check_values(self.beam, tuple(volume), sinogram[1], together.tobytes(), rays.tobytes())
            if warning:
                warnings.warn(warning, stacklevel=4)


def read_planar_geometry(
    beam: str,
    origin: Any,
    detector_origin: Any,
    spacing: Any,
    detector_spacing: Any,
    rays: Any,
    distances: tuple[Any, Any] = (0.0, 0.0),
) -> PlanarGeometry:
    """Return the geometry arguments, each an array or a tensor, with or without a batch dimension.

    Args:
      distances: from the source to the axis and to the detector, of a fan.

    Raises:
      ValueError: an argument is wrong; the message says which, what was found and what was expected.
    """
    given = (origin, detector_origin, spacing, detector_spacing, *distances, rays)
    return PlanarGeometry(beam, tuple(field.read(v) for field, v in zip(_fields(beam), given, strict=True)))


@functools.lru_cache(maxsize=_CHECKED_GEOMETRIES)
def _check_values(beam: str, volume: tuple[int, ...], columns: int, lengths: bytes, rays: bytes) -> str:
    """Return the warning that a geometry deserves, empty if none; raise ValueError if it is invalid."""
    arrays = np.frombuffer(lengths), np.frombuffer(rays).reshape(-1, 2)
    with tf.init_scope(), tf.device("CPU:0"):
        try:
            warning = ops.pyronn_layers_planar_geometry_check(volume, columns, *arrays, beam=beam)
        except tf.errors.InvalidArgumentError as error:
            raise ValueError(extract_message(error)) from None
        return warning.numpy().decode()
