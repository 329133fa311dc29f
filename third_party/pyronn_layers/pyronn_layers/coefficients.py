"""The rows of the two system matrices, one view at a time: which voxels or pixels count, and how much.

Forward and adjoint apply the same numbers, so that each is the exact transpose of the other.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from pyronn_layers.geometry import ConeGeometry


def ray_coefficients(geometry: ConeGeometry, source_mm: tf.Tensor, inverse: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Joseph's interpolation (IEEE Trans. Med. Imaging 1(3), 1982) for every ray of one view.

    The ray crosses the planes of voxel centres along its main axis, the one along which it advances most voxels. In
    each plane it takes the bilinear mean of four voxels; outside the volume they are zero. Every plane stands for the
    length of ray within one voxel layer.

    Args:
      source_mm: (3,), (x, y, z); inverse: (3, 3), detector coordinates to directions.

    Returns:
      Voxel numbers (rays, planes, 4) int32 and weights in mm (rays, planes, 4) float32, zero where outside.
    """
    spacing = geometry.spacing_mm[::-1].astype(np.float32)
    first = geometry.origin_mm[::-1].astype(np.float32)
    shape = np.array(geometry.volume_shape[::-1], np.int32)
    strides = np.array([1, shape[0], shape[0] * shape[1]], np.int32)
    direction_mm = _directions(geometry, inverse)
    direction = direction_mm / spacing  # voxels
    source = (source_mm - first) / spacing
    axes = tf.argmax(tf.abs(direction), axis=1, output_type=tf.int32)
    order = tf.gather(np.array([[0, 1, 2], [1, 0, 2], [2, 0, 1]], np.int32), axes)  # main axis first
    step = tf.gather(direction, order, batch_dims=1)
    start = tf.gather(tf.broadcast_to(source, tf.shape(direction)), order, batch_dims=1)
    sizes, jumps = tf.gather(shape, order), tf.gather(strides, order)

    planes = tf.range(int(shape.max()))
    along = (tf.cast(planes, tf.float32)[None] - start[:, :1]) / step[:, :1]
    length_mm = tf.norm(direction_mm, axis=1) / tf.abs(step[:, 0])
    inside = (planes[None] < sizes[:, :1]) & (along > 0)  # in front of the source
    crossing = [start[:, k, None] + along * step[:, k, None] for k in (1, 2)]
    index, weight = _bilinear(crossing, sizes[:, 1:], jumps[:, 1:])
    index += (tf.minimum(planes[None], sizes[:, :1] - 1) * jumps[:, :1])[..., None]
    return index, weight * tf.where(inside, length_mm[:, None], 0.0)[..., None]


def pixel_coefficients(geometry: ConeGeometry, matrix: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Bilinear interpolation on the detector for every voxel of one view, with Feldkamp's distance weight.

    Args:
      matrix: (3, 4).

    Returns:
      Pixel numbers (voxels, 1, 4) int32 and weights (voxels, 1, 4) float32, zero off the detector.
    """
    sides = zip(geometry.origin_mm, geometry.spacing_mm, geometry.volume_shape, strict=True)
    axes = [first + step * np.arange(n) for first, step, n in sides]
    z, y, x = np.meshgrid(*axes, indexing="ij")
    points = np.stack([x, y, z, np.ones_like(x)], axis=-1).reshape(-1, 4).astype(np.float32)
    u, v, depth = tf.unstack(tf.matmul(points, matrix, transpose_b=True), axis=1)
    rows, columns = geometry.detector_shape
    count = len(points)
    crossing = [(v / depth - 0.5)[:, None], (u / depth - 0.5)[:, None]]
    sizes = tf.broadcast_to(tf.constant([rows, columns]), (count, 2))
    jumps = tf.broadcast_to(tf.constant([columns, 1]), (count, 2))
    index, weight = _bilinear(crossing, sizes, jumps)
    return index, weight * (geometry.multiplier / tf.square(depth))[:, None, None]


def _directions(geometry: ConeGeometry, inverse: tf.Tensor) -> tf.Tensor:
    """Directions (rays, 3), (x, y, z), of one view's rays; pixel (row, column) is centred at + 0.5."""
    rows, columns = geometry.detector_shape
    v, u = np.meshgrid(np.arange(rows) + 0.5, np.arange(columns) + 0.5, indexing="ij")
    pixels = np.stack([u, v, np.ones_like(u)], axis=-1).reshape(-1, 3).astype(np.float32)
    return tf.matmul(pixels, inverse, transpose_b=True)


def _bilinear(crossing: list[tf.Tensor], sizes: tf.Tensor, jumps: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Four neighbours of continuous positions (n, m) along two axes: numbers (n, m, 4) and weights, zero outside."""
    parts = []
    for k, position in enumerate(crossing):
        size, jump = sizes[:, k, None], jumps[:, k, None]
        # Positions far outside would overflow an integer; one voxel beyond the border is as good.
        position = tf.clip_by_value(position, -2.0, tf.cast(size, tf.float32) + 1.0)
        low = tf.floor(position)
        fraction = position - low
        low = tf.cast(low, tf.int32)
        for offset, share in ((0, 1.0 - fraction), (1, fraction)):
            valid = (low + offset >= 0) & (low + offset < size)
            parts.append((tf.clip_by_value(low + offset, 0, size - 1) * jump, tf.where(valid, share, 0.0)))
    (a0, wa0), (a1, wa1), (b0, wb0), (b1, wb1) = parts
    index = tf.stack([a0 + b0, a0 + b1, a1 + b0, a1 + b1], axis=-1)
    weight = tf.stack([wa0 * wb0, wa0 * wb1, wa1 * wb0, wa1 * wb1], axis=-1)
    return index, weight
