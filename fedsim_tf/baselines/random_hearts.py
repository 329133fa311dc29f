"""Hearts of the shape model for which nothing is learnt: random shapes, put where annotated hearts lie or anywhere."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import tensorflow as tf
from scipy import ndimage

from fedsim_tf.losses import merge_regions
from fedsim_tf.shape.decoder import ShapeDecoder
from fedsim_tf.shape.parameters import LOG_SCALE_LIMIT, N_POSE
from fedsim_tf.training.randomness import step_rng


def draw_placed_hearts(decoder: ShapeDecoder, labels: np.ndarray, *, count: int, seed: int) -> Iterator[tf.Tensor]:
    """Yield shape parameters (1, K + 7) of upright hearts with standard normal weights of the modes.

    Each lies where some annotated heart lies, and is as large.

    Args:
      decoder: of the shape model, on the grid of the labels.
      labels: the annotated hearts (n, z, y, x), 0 or 1.
      count: how many.
      seed: a heart is the same whatever the count.
    """
    for number in range(count):
        rng = step_rng(seed, "random hearts", number)
        weights = rng.standard_normal(decoder.ssm.n_modes)
        yield _put_in_place(decoder, weights, labels[rng.integers(len(labels))])


def draw_scattered_hearts(decoder: ShapeDecoder, *, count: int, seed: int) -> Iterator[tf.Tensor]:
    """Yield the hearts of `draw_placed_hearts`, upright too, of any size and at any place where they lie whole.

    No annotated heart says where they lie or how large they are. The log scale is uniform within the shape network's
    range, as far as the field of view is large enough, and the place is uniform within the field of view.
    """
    for number in range(count):
        weights = step_rng(seed, "random hearts", number).standard_normal(decoder.ssm.n_modes)
        yield _scatter(decoder, weights, step_rng(seed, "scattered hearts", number))


def _put_in_place(decoder: ShapeDecoder, weights: np.ndarray, place: np.ndarray) -> tf.Tensor:
    """Return tau (1, K + 7) of a shape that has the volume and the centre of mass of a mask (z, y, x)."""
    spacing, origin = np.array(decoder.grid.spacing_mm), np.array(decoder.grid.origin_mm)

    def centre_mm(occupancy: np.ndarray) -> np.ndarray:
        return origin + spacing * np.array(ndimage.center_of_mass(occupancy))[::-1]

    tau = np.concatenate([weights, np.zeros(N_POSE)])
    decode = lambda: merge_regions(decoder(tf.constant(tau[None], tf.float32)))[0].numpy()  # noqa: E731
    upright = decode()
    tau[-1] = np.log(place.sum() / upright.sum()) / 3.0
    scaled = decode()
    tau[-4:-1] = centre_mm(place) - centre_mm(scaled)
    return tf.constant(tau[None], tf.float32)


def _scatter(decoder: ShapeDecoder, weights: np.ndarray, rng: np.random.Generator) -> tf.Tensor:
    """Return tau (1, K + 7) of an upright shape of random size at a random place within the grid."""
    spacing, origin = np.array(decoder.grid.spacing_mm), np.array(decoder.grid.origin_mm)
    # A voxel is left free along each border.
    first, last = origin + 0.5 * spacing, origin + (np.array(decoder.grid.shape[::-1]) - 1.5) * spacing
    tau = np.concatenate([weights, np.zeros(N_POSE)])
    points = decoder.points_mm(tf.constant(tau[None], tf.float32))[0].numpy()
    largest = min(LOG_SCALE_LIMIT, np.log(np.min((last - first) / np.ptp(points, axis=0))))
    tau[-1] = rng.uniform(min(-LOG_SCALE_LIMIT, largest), largest)
    scaled = np.exp(tau[-1]) * points
    tau[-4:-1] = rng.uniform(first - scaled.min(axis=0), last - scaled.max(axis=0))
    return tf.constant(tau[None], tf.float32)
