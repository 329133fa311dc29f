"""The operators that PYRO-NN calls, with its argument names, and the projection's adjoint."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from pyronn_layers.geometry import ConeGeometry, parse_geometry
from pyronn_layers.maps import Product, backprojection, projection


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
    """Line integrals in mm of volumes (B, z, y, x): sinograms (B, views, rows, columns) float32.

    Args:
      projection_shape: (views, rows, columns).
      volume_origin, volume_spacing: (z, y, x) in mm, as all geometry with or without a batch dimension.
      projection_matrices: (views, 3, 4).
      step_size, projection_multiplier, hardware_interp: accepted as PYRO-NN passes them; without effect here.

    Raises:
      ValueError: a volume of another rank, or geometry that is inconsistent, not finite or not constant.
    """
    volume = _checked("volume", volume)
    geometry = parse_geometry(
        volume_shape=volume.shape[1:],
        detector_shape=_detector(projection_shape),
        volume_origin=volume_origin,
        volume_spacing=volume_spacing,
        projection_matrices=projection_matrices,
        projection_multiplier=projection_multiplier,
    )
    _check_views("projection_shape", _views(projection_shape), geometry)
    return _apply(projection(geometry).forward, volume, _sinogram_shape(geometry))


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
    """The transpose of `cone_projection3d`: sinograms (B, views, rows, columns) to volumes (B, z, y, x)."""
    sinogram, geometry = _sinogram_and_geometry(
        sinogram, volume_shape, volume_origin, volume_spacing, projection_matrices, projection_multiplier
    )
    return _apply(projection(geometry).adjoint, sinogram, geometry.volume_shape)


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
    """Feldkamp's distance-weighted back-projection: filtered sinograms (B, views, rows, columns) to (B, z, y, x).

    Each voxel takes, from each view, the bilinear value at its shadow times `projection_multiplier / depth^2`, depth
    being its distance in mm from the source along the central ray.
    """
    sinogram, geometry = _sinogram_and_geometry(
        sinogram, volume_shape, volume_origin, volume_spacing, projection_matrices, projection_multiplier
    )
    return _apply(backprojection(geometry).forward, sinogram, geometry.volume_shape)


def _sinogram_and_geometry(
    sinogram: Any, volume_shape: Any, origin: Any, spacing: Any, matrices: Any, multiplier: Any
) -> tuple[tf.Tensor, ConeGeometry]:
    sinogram = _checked("sinogram", sinogram)
    geometry = parse_geometry(
        volume_shape=volume_shape,
        detector_shape=sinogram.shape[2:],
        volume_origin=origin,
        volume_spacing=spacing,
        projection_matrices=matrices,
        projection_multiplier=multiplier,
    )
    _check_views("sinogram", sinogram.shape[1], geometry)
    return sinogram, geometry


def _apply(product: Product, values: tf.Tensor, shape: tuple[int, ...]) -> tf.Tensor:
    """A linear map of each of a batch of arrays."""
    batch = tf.shape(values)[0]
    columns = product(tf.transpose(tf.reshape(values, (batch, -1))))  # the batch last: one pass for all
    result = tf.reshape(tf.transpose(columns), tf.concat([[batch], shape], axis=0))
    return tf.ensure_shape(result, (values.shape[0], *shape))


def _checked(name: str, value: Any) -> tf.Tensor:
    value = tf.cast(tf.convert_to_tensor(value), tf.float32)
    if value.shape.rank != 4 or None in value.shape.as_list()[1:]:
        raise ValueError(f"{name}: found shape {value.shape}; expected four dimensions, known but for the batch")
    return value


def _views(projection_shape: Any) -> int:
    return int(_static(projection_shape)[0])


def _detector(projection_shape: Any) -> list[int]:
    return [int(n) for n in _static(projection_shape)[1:]]


def _static(shape: Any) -> list[int]:
    found = tf.get_static_value(tf.convert_to_tensor(shape))
    if found is None or found.shape != (3,):
        raise ValueError(f"projection_shape: found {shape}; expected three constants (views, rows, columns)")
    return found.tolist()


def _check_views(name: str, views: int, geometry: ConeGeometry) -> None:
    if views != len(geometry.matrices):
        raise ValueError(f"{name}: found {views} views; expected {len(geometry.matrices)}, as projection_matrices")


def _sinogram_shape(geometry: ConeGeometry) -> tuple[int, int, int]:
    return (len(geometry.matrices), *geometry.detector_shape)
