"""A volume in three planes, with the outlines of its label: of the heart, or of its regions in their colours."""

from __future__ import annotations

import pathlib
from collections.abc import Iterable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fedsim_tf.evaluation.figures import save_figure
from fedsim_tf.evaluation.mosaic import CELL_INCHES
from fedsim_tf.evaluation.region_figures import add_legend, collect_region_ids
from fedsim_tf.regions import PAINTING_ORDER, REGIONS, is_whole_heart

_HEART_COLOUR = "#39d353"
_CELL_INCHES = 1.4 * CELL_INCHES
PLANE_NAMES = ("axial", "coronal", "sagittal")
Outline = tuple[np.ndarray, str]  # a mask of any shape, and the colour of its outline


def cut_planes(volume: np.ndarray, centre: Sequence[int]) -> list[np.ndarray]:
    """Return an axial, a coronal and a sagittal slice, upright and with the patient's left on the right.

    Args:
      volume: (z, y, x) with axes to the head, to the back and to the left.
      centre: the voxel (z, y, x) that all three pass through.
    """
    return [slices[number] for slices, number in zip(list_slices(volume), centre, strict=True)]


def list_slices(volume: np.ndarray) -> list[np.ndarray]:
    """Return all axial, all coronal and all sagittal slices, each (n, rows, columns) and as `cut_planes` turns them.

    Axial slices climb from feet to head, coronal ones go from front to back, sagittal ones from right to left.

    Args:
      volume: see `cut_planes`; axes before these stay where they are.
    """
    upright = volume[..., ::-1, :, :]
    return [volume, np.moveaxis(upright, -2, -3), np.moveaxis(upright, -1, -3)]


def draw_planes(
    path: pathlib.Path,
    image: np.ndarray,
    label: np.ndarray | None,
    centre: Sequence[int],
    *,
    extent_mm: Sequence[float],
    title: str,
) -> None:
    """Write a PNG of a volume in three planes; see `make_planes_figure` for what follows the path."""
    save_figure(make_planes_figure(image, label, centre, extent_mm=extent_mm, title=title), path)


def make_planes_figure(
    image: np.ndarray,
    label: np.ndarray | None,
    centre: Sequence[int],
    *,
    extent_mm: Sequence[float],
    title: str,
) -> Figure:
    """Return a figure of a volume in three planes in its true proportions, with the outlines of its label.

    A heart as a whole is outlined in green. Regions have their own colours, and a legend.

    Args:
      image: (z, y, x) in [-1, 1]; its axes are those of `cut_planes`.
      label: region ids (z, y, x), or None.
      centre: see `cut_planes`.
      extent_mm: the field of view along (x, y, z).
      title: above everything.
    """
    x_mm, y_mm, z_mm = extent_mm
    sizes_mm = [(x_mm, y_mm), (x_mm, z_mm), (y_mm, z_mm)]
    by_region = label is not None and not is_whole_heart(label)
    height = _CELL_INCHES * max(b / a for a, b in sizes_mm) + (0.8 if by_region else 0.5)
    figure = Figure(figsize=(3 * _CELL_INCHES, height), layout="constrained")
    axes = figure.subplots(1, 3, width_ratios=[width for width, _ in sizes_mm])
    labels = [None] * 3 if label is None else cut_planes(label, centre)
    for axis, cut, ids, size_mm, name in zip(
        axes, cut_planes(image, centre), labels, sizes_mm, PLANE_NAMES, strict=True
    ):
        width, height = size_mm
        place = (0.0, width, height, 0.0)
        axis.imshow(cut, cmap="gray", vmin=-1.0, vmax=1.0, interpolation="bilinear", extent=place)
        if ids is not None:
            _draw_outlines(axis, _list_outlines(ids, by_region=by_region), size_mm)
        axis.set_title(name, fontsize=8)
        axis.set_axis_off()
    if by_region:
        add_legend(figure, collect_region_ids(labels))
    figure.suptitle(title, fontsize=9)
    return figure


def _list_outlines(ids: np.ndarray, *, by_region: bool) -> list[Outline]:
    """Return what is outlined in a plane (rows, columns) of region ids."""
    if not by_region:
        return [(ids > 0, _HEART_COLOUR)]
    # Of two that share a boundary, the later one shows: the ventricle within its wall.
    return [(ids == region, REGIONS[region].colour) for region in PAINTING_ORDER]


def _draw_outlines(axis: Axes, outlines: Iterable[Outline], size_mm: Sequence[float]) -> None:
    width, height = size_mm
    for mask, colour in outlines:
        if mask.any() and not mask.all():
            rows, columns = ((np.arange(n) + 0.5) / n for n in mask.shape)
            axis.contour(columns * width, rows * height, mask, levels=[0.5], colors=colour, linewidths=1.0)
