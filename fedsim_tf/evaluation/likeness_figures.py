"""Draw how much synthetic volumes look like their site's: slices of both, and their CT values by tissue."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes

from fedsim_tf.evaluation.figures import save_figure
from fedsim_tf.evaluation.likeness import MeasuredVolumes
from fedsim_tf.evaluation.mosaic import CELL_INCHES, Mosaic
from fedsim_tf.evaluation.planes import PLANE_NAMES, list_slices
from fedsim_tf.evaluation.region_figures import add_legend, collect_region_ids, colour_regions, measure_legend
from fedsim_tf.evaluation.tissues import TISSUES
from fedsim_tf.regions import BACKGROUND
from fedsim_tf.training.annotated_labels import are_whole_hearts
from fedsim_tf.training.volumes import Volumes

SHOWN = 8  # slices of each kind
HEIGHTS = (0.25, 0.75)  # of the first and last slice shown, as shares of the volume's edge
BINS = 100
_HISTOGRAM_INCHES = 2.6
COLOURS = {"real": "#1f77b4", "synthetic": "#ff7f0e"}


def draw_likeness(
    path: pathlib.Path,
    real: MeasuredVolumes,
    synthetic: MeasuredVolumes,
    *,
    window_hu: tuple[float, float],
    title: str,
) -> None:
    """Draw slices of real volumes above synthetic ones in three planes, and the CT values of each tissue.

    Where volumes have regions, the axial slices are shown a second time with these in colours.

    Args:
      path: the PNG to write.
      real, synthetic: volumes of the same size.
      window_hu: CT values that are -1 and 1 in images.
      title: above everything; says which cohort this is.
    """
    measured = {"real": real, "synthetic": synthetic}
    rows = [
        row
        for plane in PLANE_NAMES
        for name, volumes in measured.items()
        for row in _list_rows(name, volumes.annotated, plane=plane)
    ]
    width = CELL_INCHES * SHOWN
    shown = collect_region_ids(row.ids for row in rows)
    legend = measure_legend(width, shown)
    below = legend + _HISTOGRAM_INCHES
    mosaic = Mosaic(len(rows), SHOWN, title=title, row_titles=True, below_inches=below)
    for number, row in enumerate(rows):
        _draw_row(mosaic, number, row)
    add_legend(mosaic.figure, shown)
    height = mosaic.figure.get_figheight()
    for column, tissue in enumerate(TISSUES):
        left, bottom = (column + 0.06) / len(TISSUES), (legend + 0.45) / height
        axis = mosaic.figure.add_axes((left, bottom, 0.88 / len(TISSUES), (_HISTOGRAM_INCHES - 0.75) / height))
        values_hu = {name: volumes.values_hu[tissue] for name, volumes in measured.items()}
        _histogram(axis, tissue, {name: np.concatenate(found) for name, found in values_hu.items() if found}, window_hu)
    save_figure(mosaic.figure, path)


class _SliceRow(NamedTuple):
    """Slices (n, y, x) in [-1, 1] under a title, with region ids (n, y, x) where these are shown."""

    title: str
    images: np.ndarray
    ids: np.ndarray | None = None


def _list_rows(name: str, volumes: Volumes, *, plane: str) -> list[_SliceRow]:
    number = PLANE_NAMES.index(plane)
    row = _SliceRow(f"{name}, {plane}", spread_slices(list_slices(volumes.images)[number]))
    if volumes.regions is None or number:
        return [row]
    whole = are_whole_hearts(volumes.regions)[:, None, None, None]  # they are no left ventricles
    return [row, _SliceRow(f"{name}, regions", row.images, spread_slices(np.where(whole, BACKGROUND, volumes.regions)))]


def _draw_row(mosaic: Mosaic, number: int, row: _SliceRow) -> None:
    for column, image in enumerate(row.images):
        if row.ids is None:
            mosaic.show_greys(number, column, image)
        else:
            mosaic.show(number, column, colour_regions(image, row.ids[column]), interpolation="nearest")
    mosaic.head(number, 0, row.title, fontsize=9)


def spread_slices(images: np.ndarray) -> np.ndarray:
    """Return eight slices (8, y, x) of volumes (n, z, y, x), ever further on and from as many volumes as there are."""
    volumes = np.arange(SHOWN) * len(images) // SHOWN if len(images) >= SHOWN else np.arange(SHOWN) % len(images)
    heights = np.linspace(*HEIGHTS, SHOWN) * (images.shape[1] - 1)
    return images[volumes, np.rint(heights).astype(int)]


def _histogram(axis: Axes, tissue: str, values_hu: Mapping[str, np.ndarray], window_hu: tuple[float, float]) -> None:
    edges = np.linspace(*window_hu, BINS + 1)
    for name, found in values_hu.items():
        shares = np.histogram(found, edges)[0] / found.size
        axis.stairs(shares, edges, color=COLOURS[name], label=f"{name}: {found.mean():.0f} ± {found.std():.0f} HU")
    axis.set_title(tissue, fontsize=8)
    axis.set_xlabel("CT value, HU", fontsize=7)
    axis.tick_params(labelsize=6)
    axis.set_yticks([])
    if values_hu:
        axis.legend(fontsize=7)
