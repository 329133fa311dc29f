"""Projection and back-projection as linear maps: kept as a sparse matrix where small, made view by view where not."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from pyronn_layers.coefficients import pixel_coefficients, ray_coefficients
from pyronn_layers.geometry import ConeGeometry

# Up to this many possible entries a matrix is built once and kept, at 20 bytes for each that is not zero.
KEPT_ENTRIES = 12_000_000
_CACHED_GEOMETRIES = 8

Product = Callable[[tf.Tensor], tf.Tensor]
Rows = tuple[tf.Tensor, tf.Tensor]  # numbers and weights (rows, m, 4) of one view's coefficients


class LinearMap(NamedTuple):
    """A matrix times columns (n, B), and its transpose; either one is the other's gradient."""

    forward: Product
    adjoint: Product


@functools.lru_cache(maxsize=_CACHED_GEOMETRIES)
def projection(geometry: ConeGeometry) -> LinearMap:
    """Volumes (voxels, B) to sinograms (views rays, B)."""
    views = (geometry.sources_mm.astype(np.float32), geometry.inverses.astype(np.float32))
    rows = lambda view: ray_coefficients(geometry, *view)  # noqa: E731
    per_row = max(geometry.volume_shape) * 4
    voxels = int(np.prod(geometry.volume_shape))
    if len(geometry.matrices) * geometry.n_pixels * per_row <= KEPT_ENTRIES:
        matrix = _assembled(views, rows, geometry.n_pixels, stacked=True, n_columns=voxels)
        return _differentiable(*_sparse_products(matrix))
    return _differentiable(
        lambda columns: _gather_views(views, rows, columns),
        lambda columns: _scatter_views(views, rows, columns, size=voxels),
    )


@functools.lru_cache(maxsize=_CACHED_GEOMETRIES)
def backprojection(geometry: ConeGeometry) -> LinearMap:
    """Sinograms (views pixels, B) to volumes (voxels, B)."""
    views = (geometry.matrices.astype(np.float32),)
    rows = lambda view: pixel_coefficients(geometry, *view)  # noqa: E731
    voxels, pixels = int(np.prod(geometry.volume_shape)), geometry.n_pixels
    if len(geometry.matrices) * voxels * 4 <= KEPT_ENTRIES:
        matrix = _assembled(views, rows, voxels, stacked=False, n_columns=pixels)
        return _differentiable(*_sparse_products(matrix))
    return _differentiable(
        lambda columns: _gather_and_sum_views(views, rows, columns, pixels=pixels, size=voxels),
        lambda columns: _scatter_per_view(views, rows, columns, size=pixels),
    )


def _differentiable(forward: Product, adjoint: Product) -> LinearMap:
    """Each product with the other as its gradient, to any order."""

    @tf.custom_gradient
    def linear(columns: tf.Tensor):
        return forward(columns), lambda upstream: transposed(upstream)

    @tf.custom_gradient
    def transposed(columns: tf.Tensor):
        return adjoint(columns), lambda upstream: linear(upstream)

    return LinearMap(linear, transposed)


def _sparse_products(matrix: tf.SparseTensor) -> tuple[Product, Product]:
    return (
        lambda columns: tf.sparse.sparse_dense_matmul(matrix, columns),
        lambda columns: tf.sparse.sparse_dense_matmul(matrix, columns, adjoint_a=True),
    )


def _assembled(
    views: tuple[np.ndarray, ...], rows: Callable[[tuple], Rows], n_rows: int, *, stacked: bool, n_columns: int
) -> tf.SparseTensor:
    """All views' coefficients as one matrix: views one below the other (stacked), or side by side."""
    indices, values = [], []
    with tf.init_scope():  # built once, outside of any graph that is being traced
        for number, view in enumerate(zip(*views, strict=True)):
            index, weight = (part.numpy().reshape(n_rows, -1) for part in rows(view))
            row, entry = np.nonzero(weight)
            column = index[row, entry].astype(np.int64)
            shifted = (row + number * n_rows, column) if stacked else (row, column + number * n_columns)
            indices.append(np.stack(shifted, axis=1))
            values.append(weight[row, entry])
        count = len(views[0])
        shape = (count * n_rows, n_columns) if stacked else (n_rows, count * n_columns)
        matrix = tf.SparseTensor(np.concatenate(indices), np.concatenate(values), shape)
        return matrix if stacked else tf.sparse.reorder(matrix)


def _gather(rows: Rows, columns: tf.Tensor) -> tf.Tensor:
    """Weighted sums (rows, B) of columns (n, B)."""
    index, weight = rows
    return tf.reduce_sum(tf.gather(columns, index) * weight[..., None], axis=[1, 2])


def _scatter(rows: Rows, columns: tf.Tensor, size: int) -> tf.Tensor:
    """The transpose of `_gather`: columns (rows, B) to (size, B)."""
    index, weight = rows
    spread = columns[:, None, None, :] * weight[..., None]
    batch = tf.shape(columns)[1]
    return tf.math.unsorted_segment_sum(tf.reshape(spread, (-1, batch)), tf.reshape(index, [-1]), size)


def _gather_views(views: tuple, rows: Callable[[tuple], Rows], columns: tf.Tensor) -> tf.Tensor:
    each = tf.map_fn(lambda view: _gather(rows(view), columns), views, fn_output_signature=tf.float32)
    return tf.reshape(each, (-1, tf.shape(columns)[1]))


def _scatter_views(views: tuple, rows: Callable[[tuple], Rows], columns: tf.Tensor, *, size: int) -> tf.Tensor:
    batch = tf.shape(columns)[1]
    each = tf.reshape(columns, (len(views[0]), -1, batch))
    zero = tf.zeros((size, batch))
    return tf.foldl(lambda total, one: total + _scatter(rows(one[1:]), one[0], size), (each, *views), zero)


def _gather_and_sum_views(
    views: tuple, rows: Callable[[tuple], Rows], columns: tf.Tensor, *, pixels: int, size: int
) -> tf.Tensor:
    batch = tf.shape(columns)[1]
    each = tf.reshape(columns, (len(views[0]), pixels, batch))
    zero = tf.zeros((size, batch))
    return tf.foldl(lambda total, one: total + _gather(rows(one[1:]), one[0]), (each, *views), zero)


def _scatter_per_view(views: tuple, rows: Callable[[tuple], Rows], columns: tf.Tensor, *, size: int) -> tf.Tensor:
    each = tf.map_fn(lambda view: _scatter(rows(view), columns, size), views, fn_output_signature=tf.float32)
    return tf.reshape(each, (-1, tf.shape(columns)[1]))
