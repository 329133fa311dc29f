"""What is odd about one heart as it was annotated: its volume, and voxels far away from it."""

from __future__ import annotations

import os

import numpy as np
from scipy import ndimage

from fedsim_tf.data.remarks import warn
from fedsim_tf.errors import InputError
from fedsim_tf.volume import Volume

USUAL_ML = (20.0, 3000.0)  # of an infant; of an adult with a pericardial effusion, great arteries included
POSSIBLE_ML = (5.0, 6000.0)
ISLAND_SHARE, ISLAND_MM = 0.01, 10.0  # the most voxels of an island, as a share of the heart, and the least distance
_COARSE = 128  # blocks along the longest axis: islands are looked for on blocks, which takes a fraction of a second


def check_odd_heart(label: Volume, subject: str | os.PathLike, *, any_extent: bool = False) -> None:
    """Refuse a heart of an impossible volume, warn of an unusual one and of few voxels that lie far away from it.

    Usual are 20 to 3000 ml, impossible less than 5 or more than 6000.

    Args:
      label: region ids, with a heart.
      subject: the file, for the log.
      any_extent: whether the spacing is known to be wrong, so that the volume says nothing.

    Raises:
      InputError: says the volume.
    """
    ml = label.nonzero_ml
    if not any_extent and not POSSIBLE_ML[0] <= ml <= POSSIBLE_ML[1]:
        expected = f"a whole heart of {POSSIBLE_ML[0]:g} to {POSSIBLE_ML[1]:g} ml"
        raise InputError(subject, found=f"a heart of {ml:.3g} ml", expected=expected)
    if not any_extent and not USUAL_ML[0] <= ml <= USUAL_ML[1]:
        text = "%s: a heart of %.3g ml; %g to %g ml are usual from infants to adults: are spacing and label right?"
        warn(text, subject, ml, *USUAL_ML)
    islands, voxels, farthest_mm = find_islands(label)
    if islands:
        text = "%s: %d stray islands with %d voxels in all lie up to %.0f mm away from the heart: remove them"
        warn(text, subject, islands, voxels, farthest_mm)


def find_islands(label: Volume) -> tuple[int, int, float]:
    """Return how many small pieces lie far away from the largest one, their voxels, and the largest distance in mm.

    A piece is small with at most a hundredth of all voxels, and far at 10 mm or more. Distances are between blocks of
    at most a hundredth of the field of view, so that neighbouring pieces may count as one.
    """
    step = -(-max(label.array.shape) // _COARSE)
    counts = _count_in_blocks(label.array > 0, step)
    pieces, n_pieces = ndimage.label(counts > 0, np.ones((3, 3, 3)))
    if n_pieces < 2:
        return 0, 0, 0.0
    voxels = ndimage.sum_labels(counts, pieces, range(1, n_pieces + 1))
    largest = int(voxels.argmax()) + 1
    spacing_mm = np.array(label.spacing_mm[::-1]) * step
    away_mm = ndimage.distance_transform_edt(pieces != largest, spacing_mm)
    nearest_mm = ndimage.minimum(away_mm, pieces, range(1, n_pieces + 1))
    stray = (voxels <= ISLAND_SHARE * voxels.sum()) & (nearest_mm >= max(ISLAND_MM, 2 * float(spacing_mm.max())))
    if not stray.any():
        return 0, 0, 0.0
    return int(stray.sum()), int(voxels[stray].sum()), float(nearest_mm[stray].max())


def _count_in_blocks(mask: np.ndarray, step: int) -> np.ndarray:
    """Return how many voxels of a mask (z, y, x) are set in each block of step x step x step voxels."""
    slabs = [mask[z : z + step].sum(axis=0, dtype=np.uint16) for z in range(0, len(mask), step)]
    counts = np.stack(slabs)  # summed along z first, slice by slice, which is several times faster than all at once
    for axis in (1, 2):
        counts = np.add.reduceat(counts, np.arange(0, counts.shape[axis], step), axis=axis, dtype=np.uint16)
    return counts
