"""Random changes of a volume that leave it a plausible CT; the same for every arm of a comparison."""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from scipy.spatial.transform import Rotation

ROTATION_RAD = 0.15
SCALE = 0.1  # relative
SHIFT = 0.05  # of the edge
GAIN = 0.1  # relative
OFFSET = 0.1  # on the scale -1 to 1: 100 HU of a window of 2000 HU
NOISE = 0.03


def augment(image: np.ndarray, label: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return image and label after a random similarity transform, the image with random contrast and noise.

    Args:
      image: (z, y, x) float32 in [-1, 1]; label: (z, y, x), 0 or 1 or region ids, of which the nearest is taken.

    Returns:
      Image and label, in the shapes and types that were given.
    """
    rotation, scale = rng.uniform(-ROTATION_RAD, ROTATION_RAD, 3), 1.0 + rng.uniform(-SCALE, SCALE)
    shift = rng.uniform(-SHIFT, SHIFT, 3) * image.shape
    matrix, offset = similarity_about_centre(image.shape, rotation=rotation, scale=scale, shift=shift)
    warp = {"matrix": matrix, "offset": offset, "mode": "nearest"}
    moved = ndimage.affine_transform(image, order=1, **warp)
    moved = moved * (1.0 + rng.uniform(-GAIN, GAIN)) + rng.uniform(-OFFSET, OFFSET)
    moved = moved + NOISE * rng.uniform() * rng.standard_normal(image.shape)
    hearts = ndimage.affine_transform(label, order=0, **warp)
    return np.clip(moved, -1.0, 1.0).astype(np.float32), hearts.astype(label.dtype)


def similarity_about_centre(
    shape: tuple[int, ...], *, rotation: np.ndarray, scale: float, shift: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return matrix (3, 3) and offset (3,) of a similarity about a volume's centre, for `ndimage.affine_transform`.

    Args:
      shape: the volume's (z, y, x).
      rotation: rotation vector (3,) in rad; scale: a factor; shift: (3,) in voxels.
    """
    matrix = Rotation.from_rotvec(rotation).as_matrix() * scale
    centre = (np.array(shape) - 1) / 2
    return matrix, centre - matrix @ centre + shift
