"""Pictures of slices with the regions of the heart in colours, and a legend."""

from __future__ import annotations

import pathlib
from collections.abc import Collection, Sequence

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from fedsim_tf.evaluation.figures import CELL_INCHES, save_figure
from fedsim_tf.regions import BACKGROUND, REGIONS

_OPACITY = 0.6
RegionCell = tuple[np.ndarray, np.ndarray | None]  # a slice (y, x) in [-1, 1], and region ids to colour it with


def colour_regions(image: np.ndarray, ids: np.ndarray | None) -> np.ndarray:
    """Return a slice as a picture (y, x, 3), 0 to 1: greys, over which each region has its colour.

    Args:
      image: (y, x) in [-1, 1]; values beyond are clipped.
      ids: region ids (y, x), or None for greys alone.
    """
    greys = np.repeat(np.clip(0.5 * image + 0.5, 0.0, 1.0)[..., None], 3, axis=-1)
    if ids is None:
        return greys
    colours = np.array([(0.0, 0.0, 0.0), *(to_rgb(region.colour) for region in REGIONS.values())])[ids]
    return np.where((ids == BACKGROUND)[..., None], greys, (1.0 - _OPACITY) * greys + _OPACITY * colours)


def region_panel(
    path: pathlib.Path, rows: Sequence[Sequence[RegionCell]], *, columns: Sequence[str], title: str
) -> None:
    """Draw rows of slices with regions in colours, and a legend of the regions that are there.

    Args:
      path: the PNG to write.
      rows: the cells.
      columns: a heading for each column.
      title: above everything; says which cohort this is.
    """
    # A Figure of its own leaves pyplot and its backend alone.
    inches = (CELL_INCHES * len(columns), CELL_INCHES * len(rows) + 1.0)
    figure = Figure(figsize=inches, layout="constrained")
    axes = figure.subplots(len(rows), len(columns), squeeze=False)
    shown: set[int] = set()
    for line, cells in zip(axes, rows, strict=True):
        for axis, (image, ids) in zip(line, cells, strict=True):
            axis.imshow(colour_regions(image, ids), interpolation="nearest")
            axis.set_axis_off()
            shown |= set() if ids is None else set(np.unique(ids).tolist())
    for axis, heading in zip(axes[0], columns, strict=True):
        axis.set_title(heading, fontsize=8)
    figure.suptitle(title, fontsize=9)
    add_legend(figure, shown)
    save_figure(figure, path)


def add_legend(figure: Figure, shown: Collection[int]) -> None:
    """Add the names and colours of regions below a figure with constrained layout."""
    handles = [Patch(color=REGIONS[n].colour, label=REGIONS[n].short_name) for n in REGIONS if n in shown]
    if handles:
        columns = min(len(handles), max(2, int(figure.get_figwidth() / 0.7)))
        figure.legend(handles=handles, loc="outside lower center", ncols=columns, fontsize=7, frameon=False)
