"""The blends of Table 2, which put the heart of one volume into the body of another.

The foreground is the simulated CT, the background the image of the enhancement network.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage, sparse
from scipy.sparse.linalg import spsolve

EDGE_VOXELS = 1.0  # standard deviation of the soft edge of an alpha blend
_NEIGHBOURS = ((-1, 0), (1, 0), (0, -1), (0, 1))


def alpha_blend(foreground: np.ndarray, background: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return both volumes mixed by a mask with a soft edge.

    Args:
      foreground, background: volumes (z, y, x).
      mask: (z, y, x), not zero where the foreground is wanted.
    """
    share = ndimage.gaussian_filter((mask > 0).astype(np.float32), (0.0, EDGE_VOXELS, EDGE_VOXELS))
    return share * foreground + (1.0 - share) * background


def poisson_blend(
    foreground: np.ndarray, background: np.ndarray, mask: np.ndarray, *, rim_voxels: int = 0
) -> np.ndarray:
    """Return the background with the foreground cloned into it seamlessly, slice by slice.

    The result has the foreground's gradients within the mask and the background's values at its border (Perez et al.,
    "Poisson Image Editing", SIGGRAPH 2003). At the border of the slice there is no neighbour, and no condition.

    Args:
      foreground, background: volumes (z, y, x).
      mask: (z, y, x), not zero where the foreground is wanted.
      rim_voxels: how far the mask is grown within its slices. With a mask that ends on an object's edge, part of the
        edge counts twice: in the foreground's gradients, and in the background's values beside it.
    """
    grown = mask > 0
    if rim_voxels:
        grown = ndimage.binary_dilation(grown, ndimage.generate_binary_structure(2, 1)[None], iterations=rim_voxels)
    return np.stack([_poisson_slice(*slices) for slices in zip(foreground, background, grown, strict=True)])


def _poisson_slice(foreground: np.ndarray, background: np.ndarray, mask: np.ndarray) -> np.ndarray:
    blended = background.astype(np.float32)
    if not mask.any():
        return blended
    if mask.all():  # there is no border to fit to
        return foreground.astype(np.float32)
    number = np.full(mask.shape, -1)
    number[mask] = np.arange(mask.sum())
    y, x = np.nonzero(mask)
    diagonal, right = np.zeros(len(y)), np.zeros(len(y))
    rows, columns = [], []
    for dy, dx in _NEIGHBOURS:
        there = (y + dy >= 0) & (y + dy < mask.shape[0]) & (x + dx >= 0) & (x + dx < mask.shape[1])
        here, beside = (y[there], x[there]), (y[there] + dy, x[there] + dx)
        diagonal[there] += 1.0
        right[there] += foreground[here].astype(np.float64) - foreground[beside]
        unknown = mask[beside]
        right[np.flatnonzero(there)[~unknown]] += background[beside][~unknown]
        rows.append(number[here][unknown])
        columns.append(number[beside][unknown])
    row, column = np.concatenate(rows), np.concatenate(columns)
    laplacian = sparse.diags(diagonal) - sparse.csr_matrix((np.ones(len(row)), (row, column)), (len(y), len(y)))
    blended[mask] = spsolve(laplacian.tocsc(), right)
    return blended
