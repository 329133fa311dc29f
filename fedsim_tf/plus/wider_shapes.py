"""Give hearts more variety than a few annotated ones have, and deform what lies around them accordingly.

The shape model knows how hearts of a population differ; the latents know how those few do that were annotated. Each
heart gets a random change, of as many standard deviations in each mode of the shape model as are asked for, and of as
much in its pose as annotated hearts differ in theirs. Its surface before and after the change has corresponding points,
which say how a CT has to be deformed to show the changed heart.
"""

from __future__ import annotations

import numpy as np

from fedsim_tf.shape.decoder import ShapeDecoder
from fedsim_tf.shape.parameters import N_POSE
from fedsim_tf.shape.volume_warp import VolumeWarp

MODE_LIMIT = 2.5  # standard deviations, beyond which hearts of the model look like none
# A few annotated hearts may lie alike by chance. Rotations in rad, translations in mm, log scale.
LEAST_POSE_SD = np.array([0.1] * 3 + [5.0] * 3 + [0.05])


class WiderShapes:
    """Random changes of hearts.

    Args:
      sd: the standard deviations (K + 7,) of the changes, such as `measure_changes` gives them. 0: hearts stay as they
        are.
    """

    def __init__(self, sd: np.ndarray):
        self.sd = sd

    def change(self, tau: np.ndarray, noise: np.ndarray) -> np.ndarray:
        """Return changed shape parameters (K + 7,), float32.

        Args:
          tau: the shape parameters (K + 7,).
          noise: (K + 7,), standard normal; where the changes that follow from it are all 0, tau stays as it is.
        """
        changes = self.sd * noise
        if not changes.any():
            return tau
        changed, modes = tau + changes, len(tau) - N_POSE
        changed[:modes] = np.clip(changed[:modes], -MODE_LIMIT, MODE_LIMIT)
        return changed.astype(np.float32)


def measure_changes(annotated: np.ndarray, *, spread: float) -> np.ndarray:
    """Return the standard deviations (K + 7,) of the changes of hearts.

    Args:
      annotated: the shape parameters (n, K + 7) of the annotated hearts.
      spread: of the changes: in standard deviations of the shape model for the modes, and for the pose of the annotated
        hearts, at least `LEAST_POSE_SD`. 0: hearts stay as they are.
    """
    modes = annotated.shape[1] - N_POSE
    pose_sd = np.maximum(_deviation(annotated[:, modes:]), LEAST_POSE_SD)
    return spread * np.concatenate([np.ones(modes), pose_sd])


def find_deformation(decoder: ShapeDecoder, before: np.ndarray, after: np.ndarray) -> VolumeWarp | None:
    """Return the deformation of the field of view that makes one heart of another; None if they are the same.

    Args:
      decoder: gives the hearts' surfaces, and the grid that fills the field of view.
      before, after: shape parameters (K + 7,), float32.
    """
    if np.array_equal(before, after):
        return None
    source, target = (decoder.points_mm(one[None])[0].numpy() for one in (before, after))
    return VolumeWarp.between(source, target, decoder.grid)


def warp_image(image: np.ndarray, deformation: VolumeWarp | None) -> np.ndarray:
    """Return an image or simulated CT (z, y, x), float32, after a deformation; None leaves it as it is."""
    return (image if deformation is None else deformation.warp(image)).astype(np.float32)


def _deviation(rows: np.ndarray) -> np.ndarray:
    """Return the standard deviation of each column; zeros of a single row."""
    return rows.std(axis=0, ddof=1) if len(rows) > 1 else np.zeros(rows.shape[1])
