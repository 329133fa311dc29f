"""Pictures of hearts alone, real beside synthetic, in greys that tell chambers from their walls."""

from __future__ import annotations

import pathlib
from collections.abc import Iterable

import numpy as np

from fedsim_tf.data.preprocess import hu_from_unit, unit_from_hu
from fedsim_tf.evaluation.figures import panel
from fedsim_tf.evaluation.planes import PLANE_NAMES, cut_planes
from fedsim_tf.evaluation.region_figures import region_panel
from fedsim_tf.regions import BACKGROUND, is_whole_heart
from fedsim_tf.training.volumes import Volumes

ROWS = 6
_PERCENTILES = (2.0, 98.0)  # of the CT values in real hearts, which become black and white
_ROUND_HU = 10.0
_MARGIN = 2  # voxels around the largest heart
_COLUMNS = tuple(
    column for kind in ("real", "synthetic") for column in (f"{kind}, axial", *PLANE_NAMES[1:], "axial, with label")
)


def heart_gallery(
    path: pathlib.Path, real: Volumes, synthetic: Volumes, *, window_hu: tuple[float, float], title: str
) -> None:
    """Draw hearts of real volumes beside those of synthetic ones in three planes, each cut out around its middle.

    Black and white are the CT values that all but a few voxels of the real hearts lie between, for both alike: over the
    whole window of a CT, blood and muscle are nearly the same grey. Volumes without a heart are left out; where there
    is no pair of hearts, nothing is drawn.

    Args:
      path: the PNG to write.
      real, synthetic: volumes of one size with labels; a row for each pair of the first few. Where labels tell regions
        apart, these are in colours.
      window_hu: CT values that are -1 and 1 in images.
      title: above everything; says which cohort this is. What black and white are is added.
    """
    sides = [_list_hearts(volumes) for volumes in (real, synthetic)]
    pairs = list(zip(*sides, strict=False))[:ROWS]
    if not pairs:
        return
    low, high = _choose_greys(hu_from_unit(image[label > BACKGROUND], window_hu) for image, label in sides[0])
    edge = _MARGIN * 2 + max(_measure_edge(label) for pair in pairs for _, label in pair)
    rows = [
        [
            cell
            for image, label in pair
            for cell in _cells(unit_from_hu(hu_from_unit(image, window_hu), (low, high)), label, edge)
        ]
        for pair in pairs
    ]
    title = f"{title}: hearts, black at {low:.0f} HU and below, white at {high:.0f} HU and above"
    if any(not is_whole_heart(label) for pair in pairs for _, label in pair):
        region_panel(path, rows, columns=_COLUMNS, title=title)
    else:
        panel(path, [[(image, label, None) for image, label in row] for row in rows], columns=_COLUMNS, title=title)


def _list_hearts(volumes: Volumes) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return image and label (z, y, x) of those volumes that have a heart."""
    labels = volumes.labels if volumes.regions is None else volumes.regions
    pairs = zip(volumes.images, labels.astype(np.uint8), strict=True)
    return [(image, label) for image, label in pairs if label.any()]


def _choose_greys(hearts_hu: Iterable[np.ndarray]) -> tuple[float, float]:
    """Return the CT values that are shown black and white, in HU."""
    low, high = np.percentile(np.concatenate(list(hearts_hu)), _PERCENTILES)
    low = np.floor(low / _ROUND_HU) * _ROUND_HU
    return float(low), float(max(low + _ROUND_HU, np.ceil(high / _ROUND_HU) * _ROUND_HU))


def _find_ends(label: np.ndarray) -> list[tuple[int, int]]:
    """Return the first and the last index of the heart along each axis."""
    inside = np.nonzero(label > BACKGROUND)
    return [(int(along.min()), int(along.max())) for along in inside]


def _measure_edge(label: np.ndarray) -> int:
    return max(last - first + 1 for first, last in _find_ends(label))


def _cells(image: np.ndarray, label: np.ndarray, edge: int) -> list[tuple[np.ndarray, np.ndarray | None]]:
    """Return the cells of one heart: three planes through its middle, and the axial one with the label."""
    middle = [(first + last) // 2 for first, last in _find_ends(label)]
    image, label = _cut_cube(image, middle, edge, outside=-1.0), _cut_cube(label, middle, edge, outside=BACKGROUND)
    centre = [edge // 2] * 3
    planes, labels = cut_planes(image, centre), cut_planes(label, centre)
    return [*((plane, None) for plane in planes), (planes[0], labels[0])]


def _cut_cube(array: np.ndarray, middle: list[int], edge: int, *, outside: float) -> np.ndarray:
    """Return the cube of an array around a voxel, with a value for what lies outside."""
    padded = np.pad(array, edge, constant_values=outside)
    return padded[tuple(slice(start := one + edge - edge // 2, start + edge) for one in middle)]
