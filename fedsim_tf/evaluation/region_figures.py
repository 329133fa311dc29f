"""Pictures of slices with the regions of the heart in colours, and a legend."""

from __future__ import annotations

import pathlib
from collections.abc import Collection, Iterable, Sequence

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from fedsim_tf.evaluation.figures import save_figure
from fedsim_tf.evaluation.mosaic import CELL_INCHES, Mosaic
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
    shown = collect_region_ids(ids for cells in rows for _, ids in cells)
    below = measure_legend(CELL_INCHES * len(columns), shown)
    mosaic = Mosaic(len(rows), len(columns), title=title, below_inches=below)
    for number, cells in enumerate(rows):
        for column, (_, (image, ids)) in enumerate(zip(columns, cells, strict=True)):
            mosaic.show(number, column, colour_regions(image, ids), interpolation="nearest")
    for column, heading in enumerate(columns):
        mosaic.head(0, column, heading)
    add_legend(mosaic.figure, shown)
    save_figure(mosaic.figure, path)


def collect_region_ids(labels: Iterable[np.ndarray | None]) -> set[int]:
    """Return the ids that are there in any of several label maps; None has none."""
    return {region for ids in labels if ids is not None for region in np.unique(ids).tolist()}


def add_legend(figure: Figure, shown: Collection[int]) -> None:
    """Add the names and colours of regions at the bottom of a figure; one with constrained layout makes room for it."""
    handles = [Patch(color=REGIONS[n].colour, label=REGIONS[n].short_name) for n in _list_named(shown)]
    if handles:
        columns = _count_columns(figure.get_figwidth(), len(handles))
        figure.legend(handles=handles, loc="outside lower center", ncols=columns, fontsize=7, frameon=False)


def measure_legend(width_inches: float, shown: Collection[int]) -> float:
    """Return the height in inches that the legend of these regions takes in a figure of this width."""
    named = _list_named(shown)
    return 0.16 * -(-len(named) // _count_columns(width_inches, len(named))) + 0.16 if named else 0.0


def _list_named(shown: Collection[int]) -> list[int]:
    return [region for region in REGIONS if region in shown]


def _count_columns(width_inches: float, entries: int) -> int:
    return min(entries, max(2, int(width_inches / 0.7)))
