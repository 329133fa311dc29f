"""Draw how much synthetic volumes look like their site's: slices of both, and their CT values by tissue."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fedsim_tf.evaluation.figures import CELL_INCHES, save_figure
from fedsim_tf.evaluation.likeness import MeasuredVolumes
from fedsim_tf.evaluation.planes import PLANE_NAMES, list_slices
from fedsim_tf.evaluation.region_figures import add_legend, colour_regions
from fedsim_tf.evaluation.tissues import TISSUES
from fedsim_tf.regions import BACKGROUND
from fedsim_tf.training.annotated_labels import are_whole_hearts
from fedsim_tf.training.volumes import Volumes

SHOWN = 8  # slices of each kind
HEIGHTS = (0.25, 0.75)  # of the first and last slice shown, as shares of the volume's edge
BINS = 100
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
    figure = Figure(figsize=(CELL_INCHES * SHOWN, CELL_INCHES * len(rows) + 3.0), layout="constrained")
    parts: Any = figure.subfigures(2, 1, height_ratios=(CELL_INCHES * len(rows) + 0.4, 2.6))
    slices, distributions = parts
    for line, row in zip(slices.subplots(len(rows), SHOWN), rows, strict=True):
        _draw_row(line, row)
    add_legend(figure, {region for row in rows if row.ids is not None for region in np.unique(row.ids).tolist()})
    for axis, tissue in zip(distributions.subplots(1, len(TISSUES)), TISSUES, strict=True):
        values_hu = {name: volumes.values_hu[tissue] for name, volumes in measured.items()}
        _histogram(axis, tissue, {name: np.concatenate(found) for name, found in values_hu.items() if found}, window_hu)
    figure.suptitle(title, fontsize=9)
    save_figure(figure, path)


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


def _draw_row(axes: Sequence[Axes], row: _SliceRow) -> None:
    for number, (axis, image) in enumerate(zip(axes, row.images, strict=True)):
        if row.ids is None:
            axis.imshow(image, cmap="gray", vmin=-1.0, vmax=1.0, interpolation="bilinear")
        else:
            axis.imshow(colour_regions(image, row.ids[number]), interpolation="nearest")
        axis.set_axis_off()
    axes[0].set_title(row.title, fontsize=9)


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
