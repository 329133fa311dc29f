"""What tells a CT in HU from pictures, windowed or normalised images and label maps, by the values alone."""

from __future__ import annotations

import numpy as np

SURELY_HU = -500.0  # lung and air are below; no picture, mask or mediastinal window is
LEAST_RANGE = 600.0  # from fat to bone or contrast medium; the usual windows of soft tissue are 350 to 450 wide
MOST_WINDOWED = 2000.0  # stored values of 12 bits are cut off at both ends too, and are wider
CUT_LOW, CUT_HIGH = 0.01, 0.001  # shares of the voxels at the lowest and the highest value of a windowed image
MOST_LABELS = 64  # distinct values of a label map, organs and all
_SAMPLE = 1 << 20


def describe_other_than_hu(array: np.ndarray, low: float, high: float) -> str | None:
    """Return what the values of an image look like if they can hardly be HU, else None.

    An image with values below -500 passes, and so does one that lost its rescale intercept: it has the wide range of
    a CT.

    Args:
      array: finite values of any shape.
      low, high: the lowest and the highest of them.
    """
    if low < SURELY_HU:
        return None
    values = f"values from {low:g} to {high:g}"
    sample = np.ravel(array)[:: max(1, array.size // _SAMPLE)]
    distinct = np.unique(sample)
    whole = bool(np.all(distinct == np.round(distinct)))
    if whole and len(distinct) <= min(MOST_LABELS, sample.size // 8):
        return f"{len(distinct)} different whole numbers from {low:g} to {high:g}, as of a label map"
    if whole and low >= 0 and high <= 255:
        return f"{values}, as of an 8-bit picture"
    if high - low < LEAST_RANGE:
        return f"{values}, as of a windowed or normalised image"
    cut = float(np.mean(array == low)), float(np.mean(array == high))
    if high - low <= MOST_WINDOWED and cut[0] >= CUT_LOW and cut[1] >= CUT_HIGH:
        return f"{values} with {cut[0]:.1%} and {cut[1]:.1%} of the voxels at the ends, as of a windowed image"
    return None
