"""The cone-beam operators that PYRO-NN calls, with its names of arguments, and the adjoint of the projection."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from pyronn_layers.geometry import Geometry, read_geometry
from pyronn_layers.library import extract_message, ops
from pyronn_layers.values import ADJOINTS, TAKE_VOLUMES, read_shape, read_values


def cone_projection3d(
    volume: Any,
    projection_shape: Any,
    volume_origin: Any,
    volume_spacing: Any,
    projection_matrices: Any,
    step_size: Any = 1.0,
    projection_multiplier: Any = 1.0,
    hardware_interp: bool = False,
) -> tf.Tensor:
    """Return the line integrals in mm of volumes (B, z, y, x): float32 sinograms (B, views, rows, columns).

    Args:
      projection_shape: (views, rows, columns).
      volume_origin, volume_spacing: (z, y, x) in mm. All geometry may have a batch dimension.
      projection_matrices: (views, 3, 4); they take (x, y, z, 1) in mm to detector coordinates, up to a factor.
      step_size, projection_multiplier, hardware_interp: have no effect; PYRO-NN passes them.

    Raises:
      ValueError: an argument is wrong; the message says which, what was found and what was expected.
      tf.errors.InvalidArgumentError: the same for geometry that is only known when a graph runs.
    """
    geometry = read_geometry(volume_origin, volume_spacing, projection_matrices, projection_multiplier)
    return _apply("projection", read_values("volume", volume, 4), "projection_shape", projection_shape, geometry)


def cone_projection3d_adjoint(
    sinogram: Any,
    volume_shape: Any,
    volume_origin: Any,
    volume_spacing: Any,
    projection_matrices: Any,
    step_size: Any = 1.0,
    projection_multiplier: Any = 1.0,
    hardware_interp: bool = False,
) -> tf.Tensor:
    """Return volumes (B, z, y, x): the transpose of `cone_projection3d`, of sinograms (B, views, rows, columns)."""
    geometry = read_geometry(volume_origin, volume_spacing, projection_matrices, projection_multiplier)
    return _apply("projection_adjoint", read_values("sinogram", sinogram, 4), "volume_shape", volume_shape, geometry)


def cone_backprojection3d(
    sinogram: Any,
    volume_shape: Any,
    volume_origin: Any,
    volume_spacing: Any,
    projection_matrices: Any,
    step_size: Any = 1.0,
    projection_multiplier: Any = 1.0,
    hardware_interp: bool = False,
) -> tf.Tensor:
    """Back-project filtered sinograms (B, views, rows, columns) with Feldkamp's weights; return volumes (B, z, y, x).

    Each voxel takes from each view the bilinear value at its shadow times `projection_multiplier / depth^2`. The depth
    is the distance in mm between voxel and source along the central ray.
    """
    geometry = read_geometry(volume_origin, volume_spacing, projection_matrices, projection_multiplier)
    return _apply("backprojection", read_values("sinogram", sinogram, 4), "volume_shape", volume_shape, geometry)


def _apply(
    operator: str, values: tf.Tensor, shape_name: str, shape: Any, geometry: Geometry, **attributes: str
) -> tf.Tensor:
    """Apply one of the four operators; the attributes `path` and `instruction_set` are for tests and benchmarks."""
    shape = read_shape(shape_name, shape, 3)
    geometry.check(values.shape, tf.get_static_value(shape), volumes=operator in TAKE_VOLUMES)
    try:
        return ops.pyronn_layers_cone_beam(values, shape, *geometry.tensors, operator=operator, **attributes)
    except tf.errors.InvalidArgumentError as error:  # raised here only in eager execution
        raise ValueError(extract_message(error)) from None


@tf.RegisterGradient("PyronnLayersConeBeam")
def _gradient(op: tf.Operation, upstream: tf.Tensor) -> list[tf.Tensor | None]:
    values, _, *geometry = op.inputs
    names = ("path", "instruction_set")
    attributes = {name: op.get_attr(name).decode() for name in names}
    adjoint = ADJOINTS[op.get_attr("operator").decode()]
    shape = tf.shape(values, out_type=tf.int64)[1:]
    result = ops.pyronn_layers_cone_beam(upstream, shape, *geometry, operator=adjoint, **attributes)
    return [tf.ensure_shape(result, values.shape), None, *(None for _ in geometry)]
