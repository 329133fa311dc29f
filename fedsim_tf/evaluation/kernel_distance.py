"""Measure how far the VGG features of synthetic slices lie from those of real ones, in three planes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from fedsim_tf.models.vgg import VGG19Features
from fedsim_tf.records.likeness_record import FeatureDistances

PLANES = {"axial": 0, "coronal": 1, "sagittal": 2}  # the axis of volumes (z, y, x) that slices are taken along
SLICES = 4  # of each volume and plane, evenly spread: more take time
BATCH = 32  # slices whose features are taken at a time
PlaneFeatures = Mapping[str, np.ndarray]  # by plane (slices, channels), those of a volume after one another


def average_features(vgg: VGG19Features, images: np.ndarray) -> PlaneFeatures:
    """Return the last VGG features (relu5_1, averaged over the slice) of four slices of each volume and plane.

    Args:
      vgg: the features.
      images: (n, z, y, x) in [-1, 1].
    """
    return {
        plane: _features_of_slices(vgg, np.concatenate([_even_slices(image, axis) for image in images]))
        for plane, axis in PLANES.items()
    }


def compare_features(real: PlaneFeatures, synthetic: PlaneFeatures) -> dict[str, FeatureDistances]:
    """Return the kernel distances of real volumes' features to synthetic ones', and of even to odd real volumes'.

    The distance is the unbiased squared maximum mean discrepancy with a cubic kernel (KID, Binkowski et al., ICLR
    2018), which unlike Frechet's distance means something for a few hundred slices. That among real volumes says what
    the distance is of sets that differ in their patients alone. Features are divided by the root mean square of the
    real ones, because weights, those that are random above all, give them any scale.

    Args:
      real, synthetic: see `average_features`; there are at least two real volumes.
    """
    return {plane: _compare_plane(real[plane], synthetic[plane]) for plane in PLANES}


def _compare_plane(real: np.ndarray, synthetic: np.ndarray) -> FeatureDistances:
    unit = max(float(np.sqrt(np.mean(np.square(real)))), np.finfo(np.float32).tiny)
    real, synthetic = real / unit, synthetic / unit
    is_odd = np.arange(len(real)) // SLICES % 2 == 1
    return FeatureDistances(
        real_to_synthetic=kernel_distance(real, synthetic),
        real_to_real=kernel_distance(real[~is_odd], real[is_odd]),
    )


def kernel_distance(first: np.ndarray, second: np.ndarray) -> float:
    """Return the unbiased squared maximum mean discrepancy of two sets of vectors (n, d) and (m, d), cubic kernel."""
    within = 0.0
    for part in (first, second):
        kernel = _cubic_kernel(part, part)
        within += (kernel.sum() - np.trace(kernel)) / (len(part) * (len(part) - 1))
    return float(within - 2.0 * _cubic_kernel(first, second).mean())


def _cubic_kernel(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return (<a, b> / d + 1)^3 of each pair of vectors."""
    return (first.astype(np.float64) @ second.T.astype(np.float64) / first.shape[1] + 1.0) ** 3


def _features_of_slices(vgg: VGG19Features, slices: np.ndarray) -> np.ndarray:
    found = []
    for first in range(0, len(slices), BATCH):
        maps = vgg(tf.constant(slices[first : first + BATCH, :, :, None], tf.float32))[-1]
        found.append(tf.reduce_mean(tf.cast(maps, tf.float32), axis=(1, 2)).numpy())
    return np.concatenate(found)


def _even_slices(image: np.ndarray, axis: int) -> np.ndarray:
    """Return four evenly spread slices (4, rows, columns) of a volume (z, y, x) along an axis."""
    places = (np.arange(SLICES) + 0.5) * image.shape[axis] / SLICES
    return np.moveaxis(image, axis, 0)[places.astype(int)]
