"""The parallel- and fan-beam operators that PYRO-NN calls, with its names of arguments, and their adjoints."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from pyronn_layers.library import extract_message, ops
from pyronn_layers.planar_geometry import PlanarGeometry, read_planar_geometry
from pyronn_layers.values import ADJOINTS, TAKE_VOLUMES, read_shape, read_values


def parallel_projection2d(
    volume: Any,
    projection_shape: Any,
    volume_origin: Any,
    detector_origin: Any,
    volume_spacing: Any,
    detector_spacing: Any,
    ray_vectors: Any,
) -> tf.Tensor:
    """Return the line integrals in mm of images (B, y, x) along parallel rays: float32 sinograms (B, views, columns).

    Args:
      projection_shape: (views, columns).
      volume_origin, volume_spacing: (y, x) in mm. All geometry may have a batch dimension.
      detector_origin, detector_spacing: centre of the first column, and from one to the next, in mm: one number each.
      ray_vectors: (views, 2), directions (x, y) of the rays. Columns are counted along (-y, x).

    Raises:
      ValueError: an argument is wrong; the message says which, what was found and what was expected.
      tf.errors.InvalidArgumentError: the same for geometry that is only known when a graph runs.
    """
    lengths = (volume_origin, detector_origin, volume_spacing, detector_spacing)
    return _project("projection", volume, projection_shape, read_planar_geometry("parallel", *lengths, ray_vectors))


def parallel_projection2d_adjoint(
    sinogram: Any,
    volume_shape: Any,
    volume_origin: Any,
    detector_origin: Any,
    volume_spacing: Any,
    detector_spacing: Any,
    ray_vectors: Any,
) -> tf.Tensor:
    """Return images (B, y, x): the transpose of `parallel_projection2d`, of sinograms (B, views, columns)."""
    lengths = (volume_origin, detector_origin, volume_spacing, detector_spacing)
    geometry = read_planar_geometry("parallel", *lengths, ray_vectors)
    return _backproject("projection_adjoint", sinogram, volume_shape, geometry)


def parallel_backprojection2d(
    sinogram: Any,
    volume_shape: Any,
    volume_origin: Any,
    detector_origin: Any,
    volume_spacing: Any,
    detector_spacing: Any,
    ray_vectors: Any,
) -> tf.Tensor:
    """Back-project filtered sinograms (B, views, columns) of parallel rays; return images (B, y, x).

    Each pixel takes from each view the linear value at its shadow, times pi / views.
    """
    lengths = (volume_origin, detector_origin, volume_spacing, detector_spacing)
    geometry = read_planar_geometry("parallel", *lengths, ray_vectors)
    return _backproject("backprojection", sinogram, volume_shape, geometry)


def fan_projection2d(
    volume: Any,
    projection_shape: Any,
    volume_origin: Any,
    detector_origin: Any,
    volume_spacing: Any,
    detector_spacing: Any,
    source_2_isocenter_distance: Any,
    source_2_detector_distance: Any,
    central_ray_vectors: Any,
) -> tf.Tensor:
    """Return the line integrals in mm of images (B, y, x) in a fan beam: float32 sinograms (B, views, columns).

    Args:
      projection_shape: (views, columns).
      volume_origin, volume_spacing: (y, x) in mm. All geometry may have a batch dimension.
      detector_origin, detector_spacing: on the flat detector, as in `parallel_projection2d`.
      source_2_isocenter_distance, source_2_detector_distance: along the central ray, in mm.
      central_ray_vectors: (views, 2), directions (x, y) from the source through the origin. Columns are counted along
        (-y, x).

    Raises:
      ValueError: an argument is wrong; the message says which, what was found and what was expected.
      tf.errors.InvalidArgumentError: the same for geometry that is only known when a graph runs.
    """
    distances = (source_2_isocenter_distance, source_2_detector_distance)
    lengths = (volume_origin, detector_origin, volume_spacing, detector_spacing)
    geometry = read_planar_geometry("fan", *lengths, central_ray_vectors, distances)
    return _project("projection", volume, projection_shape, geometry)


def fan_projection2d_adjoint(
    sinogram: Any,
    volume_shape: Any,
    volume_origin: Any,
    detector_origin: Any,
    volume_spacing: Any,
    detector_spacing: Any,
    source_2_isocenter_distance: Any,
    source_2_detector_distance: Any,
    central_ray_vectors: Any,
) -> tf.Tensor:
    """Return images (B, y, x): the transpose of `fan_projection2d`, of sinograms (B, views, columns)."""
    distances = (source_2_isocenter_distance, source_2_detector_distance)
    lengths = (volume_origin, detector_origin, volume_spacing, detector_spacing)
    geometry = read_planar_geometry("fan", *lengths, central_ray_vectors, distances)
    return _backproject("projection_adjoint", sinogram, volume_shape, geometry)


def fan_backprojection2d(
    sinogram: Any,
    volume_shape: Any,
    volume_origin: Any,
    detector_origin: Any,
    volume_spacing: Any,
    detector_spacing: Any,
    source_2_isocenter_distance: Any,
    source_2_detector_distance: Any,
    central_ray_vectors: Any,
) -> tf.Tensor:
    """Back-project filtered sinograms (B, views, columns) of a fan beam; return images (B, y, x).

    Each pixel takes from each view the linear value at its shadow, times pi / views * isocenter distance * detector
    distance / (its distance from the source)^2.
    """
    distances = (source_2_isocenter_distance, source_2_detector_distance)
    lengths = (volume_origin, detector_origin, volume_spacing, detector_spacing)
    geometry = read_planar_geometry("fan", *lengths, central_ray_vectors, distances)
    return _backproject("backprojection", sinogram, volume_shape, geometry)


def _project(operator: str, volume: Any, shape: Any, geometry: PlanarGeometry) -> tf.Tensor:
    return _apply(operator, read_values("volume", volume, 3), "projection_shape", shape, geometry)


def _backproject(operator: str, sinogram: Any, shape: Any, geometry: PlanarGeometry) -> tf.Tensor:
    return _apply(operator, read_values("sinogram", sinogram, 3), "volume_shape", shape, geometry)


def _apply(
    operator: str, values: tf.Tensor, shape_name: str, shape: Any, geometry: PlanarGeometry, **attributes: str
) -> tf.Tensor:
    """Apply one of the four operators; the attribute `instruction_set` is for tests and benchmarks."""
    shape = read_shape(shape_name, shape, 2)
    geometry.check(values.shape, tf.get_static_value(shape), volumes=operator in TAKE_VOLUMES)
    how = {"operator": operator, "beam": geometry.beam, **attributes}
    try:
        return ops.pyronn_layers_planar_beam(values, shape, *geometry.tensors, **how)
    except tf.errors.InvalidArgumentError as error:  # raised here only in eager execution
        raise ValueError(extract_message(error)) from None


@tf.RegisterGradient("PyronnLayersPlanarBeam")
def _gradient(op: tf.Operation, upstream: tf.Tensor) -> list[tf.Tensor | None]:
    values, _, *geometry = op.inputs
    how = {name: op.get_attr(name).decode() for name in ("beam", "instruction_set")}
    adjoint = ADJOINTS[op.get_attr("operator").decode()]
    shape = tf.shape(values, out_type=tf.int64)[1:]
    result = ops.pyronn_layers_planar_beam(upstream, shape, *geometry, operator=adjoint, **how)
    return [tf.ensure_shape(result, values.shape), None, *(None for _ in geometry)]
