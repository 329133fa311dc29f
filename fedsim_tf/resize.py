"""Separable linear resampling of volumes on tensors, with gradients."""

from __future__ import annotations

import numpy as np
import tensorflow as tf


def linear_matrix(n_in: int, n_out: int) -> np.ndarray:
    """Return the weights (n_out, n_in) of linear interpolation between voxel centres.

    Both grids share their outer borders. When the grid gets coarser the triangle widens with it, so that every input
    voxel counts (no aliasing). At the border the weights are renormalised.
    """
    scale = n_in / n_out
    width = max(scale, 1.0)
    centres = (np.arange(n_out) + 0.5) * scale - 0.5
    distance = np.abs(np.arange(n_in)[None, :] - centres[:, None]) / width
    weights = np.maximum(1.0 - distance, 0.0)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def resize_volume(volume: tf.Tensor, size: int) -> tf.Tensor:
    """Return cubes (B, size, size, size) of cubes (B, n, n, n): trilinear, without aliasing in coarser grids."""
    matrix = tf.constant(linear_matrix(int(volume.shape[1]), size))
    volume = tf.einsum("bzyx,kz->bkyx", volume, matrix)
    volume = tf.einsum("bkyx,ly->bklx", volume, matrix)
    return tf.einsum("bklx,mx->bklm", volume, matrix)


def resize_slices(volume: tf.Tensor, index: tf.Tensor, size: int) -> tf.Tensor:
    """Return slice `index` (B,) along z of `resize_volume(volume, size)`, (B, size, size), without the other slices."""
    matrix = tf.constant(linear_matrix(int(volume.shape[1]), size))
    slices = tf.einsum("bzyx,bz->byx", volume, tf.gather(matrix, index))
    slices = tf.einsum("byx,ly->blx", slices, matrix)
    return tf.einsum("blx,mx->blm", slices, matrix)
