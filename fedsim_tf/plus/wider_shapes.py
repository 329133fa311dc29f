"""Give hearts more variety than a few annotated ones have, and deform what lies around them accordingly.

The shape model knows how hearts of a population differ; the latents know how those few do that were annotated. Each
heart gets a random change, of as many standard deviations in each mode of the shape model as are asked for, and of as
much in its pose as annotated hearts differ in theirs. Its surface before and after the change has corresponding points,
which say how a CT has to be deformed to show the changed heart.
"""

from __future__ import annotations

import numpy as np

from fedsim_tf.shape.decoder import ShapeDecoder
from fedsim_tf.shape.volume_warp import VolumeWarp

MODE_LIMIT = 2.5  # standard deviations, beyond which hearts of the model look like none
# A few annotated hearts may lie alike by chance. Rotations in rad, translations in mm, log scale.
LEAST_POSE_SD = np.array([0.1] * 3 + [5.0] * 3 + [0.05])


class WiderShapes:
    """Random changes of hearts.

    Args:
      decoder: gives a heart's surface.
      annotated: the shape parameters (n, K + 7) of the annotated hearts.
      spread: of the changes: in standard deviations of the shape model for the modes, and for the pose of the annotated
        hearts, at least `LEAST_POSE_SD`. 0: hearts stay as they are.
    """

    def __init__(self, decoder: ShapeDecoder, annotated: np.ndarray, *, spread: float):
        self._decoder, modes = decoder, decoder.ssm.n_modes
        pose_sd = np.maximum(_deviation(annotated[:, modes:]), LEAST_POSE_SD)
        self._sd = spread * np.concatenate([np.ones(modes), pose_sd])

    def change(self, tau: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, VolumeWarp | None]:
        """Return changed shape parameters (K + 7,) and the deformation from heart to heart; None if nothing changes."""
        if not self._sd.any():
            return tau, None
        modes = self._decoder.ssm.n_modes
        changed = tau + self._sd * rng.standard_normal(len(tau))
        changed[:modes] = np.clip(changed[:modes], -MODE_LIMIT, MODE_LIMIT)
        source, target = (self._decoder.points_mm(one[None].astype(np.float32))[0].numpy() for one in (tau, changed))
        return changed.astype(np.float32), VolumeWarp.between(source, target, self._decoder.grid)


def _deviation(rows: np.ndarray) -> np.ndarray:
    """Return the standard deviation of each column; zeros of a single row."""
    return rows.std(axis=0, ddof=1) if len(rows) > 1 else np.zeros(rows.shape[1])
